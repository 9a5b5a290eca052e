/* Waiting for more: inotify on the folders where there is one, and the clock (scan.interval) in any
 * case, as network file systems tell nothing. A watch that cannot be had costs latency, nothing
 * else. */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "source/file/source.h"

#define NOTES_BYTES 8192
#define NOTES_READS_MAX 64
#define NAMES (IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF)

void tr_filesrc_watch_open(struct tr_filesrc *source)
{
    source->notify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (source->notify_fd < 0)
        tr_log(TR_LOG_INFO, "no inotify: files are looked at by the clock", "scan_interval_ms=%lld",
               (long long)source->options.scan_interval_ms);
}

void tr_filesrc_watch_folder(struct tr_filesrc *source, const char *folder)
{
    if (source->notify_fd >= 0)
        (void)inotify_add_watch(source->notify_fd, folder, IN_MODIFY | NAMES);
}

static void take_notes(struct tr_filesrc *source)
{
    _Alignas(struct inotify_event) char notes[NOTES_BYTES];
    for (int reads = 0; reads < NOTES_READS_MAX; reads++) {
        ssize_t got = read(source->notify_fd, notes, sizeof notes);
        if (got <= 0)
            return;
        source->sweep_asked = true;
        for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= got;) {
            const struct inotify_event *note = (const struct inotify_event *)(notes + at);
            if (note->mask & (NAMES | IN_Q_OVERFLOW | IN_IGNORED))
                source->scan_asked = true;
            at += (ssize_t)(sizeof *note + note->len);
        }
    }
}

bool tr_filesrc_wait(struct tr_filesrc *source, int timeout_ms)
{
    struct pollfd fds[3] = {{.fd = source->wake_fd, .events = POLLIN},
                            {.fd = source->notify_fd, .events = POLLIN},
                            {.fd = source->is_stdin ? STDIN_FILENO : -1, .events = POLLIN}};
    int64_t now_ms = tr_clock_mono_ms();
    int64_t due_ms = source->swept_ms + source->options.scan_interval_ms - now_ms;
    if (!source->is_stdin && due_ms < timeout_ms)
        timeout_ms = due_ms < 0 ? 0 : (int)due_ms;
    if (poll(fds, 3, timeout_ms) < 0 && errno != EINTR)
        tr_clock_sleep_ms(10); /* cannot happen; not in a busy loop if it does */
    uint64_t count;
    if (fds[0].revents != 0 && read(source->wake_fd, &count, sizeof count) > 0)
        return true;
    if (fds[1].revents != 0)
        take_notes(source);
    if (fds[2].revents != 0)
        source->sweep_asked = true;
    return false;
}

void tr_filesrc_watch_close(struct tr_filesrc *source)
{
    if (source->notify_fd >= 0)
        (void)close(source->notify_fd);
    source->notify_fd = -1;
}
