/* One request, one answer, within a deadline. Any thread. */
#include "control/control.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/outbuf.h"
#include "control/address.h"

#define READ_BYTES 16384u

static enum tr_status fail_socket(const char *what, const char *state_dir, int error,
                                  struct tr_error *err)
{
    (void)tr_fail(err, TR_E_CONTROL_SOCKET, "could not %s the control socket %s/%s", what,
                  state_dir, TR_CONTROL_SOCKET_NAME);
    (void)tr_detail(err, "%s", strerror(error));
    if (error == ENAMETOOLONG)
        return tr_hint(err,
                       "Set TAILRACE_STATE_DIR to a folder with a shorter path (a socket's path "
                       "has at most 107 bytes where /proc is not mounted).");
    return tr_hint(err, "Run this as the user that runs the pipeline, with the same "
                        "TAILRACE_STATE_DIR.");
}

static enum tr_status fail_not_running(const char *state_dir, int error, struct tr_error *err)
{
    (void)tr_fail(err, TR_E_NOT_RUNNING, "no process answers on %s/%s", state_dir,
                  TR_CONTROL_SOCKET_NAME);
    (void)tr_detail(err, "%s", strerror(error));
    return tr_hint(err,
                   "Start the pipeline with `tailrace run FILE`, or set TAILRACE_STATE_DIR to the "
                   "folder that it was started with.");
}

static enum tr_status fail_timeout(const char *state_dir, int timeout_ms, struct tr_error *err)
{
    (void)tr_fail(err, TR_E_CONTROL_TIMEOUT, "no answer on %s/%s within %d ms", state_dir,
                  TR_CONTROL_SOCKET_NAME, timeout_ms);
    return tr_hint(err, "Try again; when it stays silent, look at the pipeline's log.");
}

static enum tr_status dial(const char *state_dir, int *fd, struct tr_error *err)
{
    struct tr_control_address address;
    int error = tr_control_address_open(state_dir, &address);
    if (error == 0) {
        *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (*fd < 0 || connect(*fd, (struct sockaddr *)&address.name, address.len) != 0)
            error = errno;
    }
    tr_control_address_close(&address);
    if (error == 0)
        return TR_OK;
    if (error == ENOENT || error == ECONNREFUSED)
        return fail_not_running(state_dir, error, err);
    if (error == EAGAIN) { /* unix(7): the listener's queue is full */
        (void)tr_fail(err, TR_E_CONTROL_TIMEOUT, "the control socket %s/%s has too many callers",
                      state_dir, TR_CONTROL_SOCKET_NAME);
        return tr_hint(err, "Try again.");
    }
    return fail_socket("reach", state_dir, error, err);
}

/* TR_OK: ready. TR_AGAIN: the deadline passed. */
static enum tr_status wait_ready(int fd, short events, int64_t deadline_ms)
{
    for (;;) {
        int64_t left_ms = deadline_ms - tr_clock_mono_ms();
        struct pollfd poller = {.fd = fd, .events = events};
        int ready = poll(&poller, 1, left_ms <= 0 ? 0 : (int)left_ms);
        if (ready > 0)
            return TR_OK;
        if ((ready == 0 && left_ms <= 0) || (ready < 0 && errno != EINTR))
            return TR_AGAIN;
    }
}

static enum tr_status send_line(int fd, const char *state_dir, const char *request,
                                int64_t deadline_ms, int timeout_ms, struct tr_error *err)
{
    struct tr_outbuf line = {0};
    tr_outbuf_str(&line, request);
    tr_outbuf_lit(&line, "\n");
    enum tr_status status = TR_OK;
    if (line.failed)
        status = tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a control request");
    for (size_t sent = 0; status == TR_OK && sent < line.len;) {
        if (wait_ready(fd, POLLOUT, deadline_ms) != TR_OK) {
            status = fail_timeout(state_dir, timeout_ms, err);
            break;
        }
        ssize_t n = send(fd, line.data + sent, line.len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0)
            sent += (size_t)n;
        else if (errno != EAGAIN && errno != EINTR)
            status = fail_socket("write to", state_dir, errno, err);
    }
    tr_outbuf_free(&line);
    return status;
}

static enum tr_status read_line(int fd, const char *state_dir, int64_t deadline_ms, int timeout_ms,
                                struct tr_outbuf *line, struct tr_error *err)
{
    for (;;) {
        if (wait_ready(fd, POLLIN, deadline_ms) != TR_OK)
            return fail_timeout(state_dir, timeout_ms, err);
        if (!tr_outbuf_reserve(line, READ_BYTES))
            return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a control answer");
        ssize_t n = recv(fd, line->data + line->len, READ_BYTES, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n < 0 && errno != ECONNRESET)
            return fail_socket("read from", state_dir, errno, err);
        if (n <= 0) {
            (void)tr_fail(err, TR_E_NOT_RUNNING, "the process on %s/%s ended before it answered",
                          state_dir, TR_CONTROL_SOCKET_NAME);
            return tr_hint(err, "Look at the pipeline's log.");
        }
        char *newline = memchr(line->data + line->len, '\n', (size_t)n);
        if (newline != NULL) {
            line->len = (size_t)(newline - line->data);
            return TR_OK;
        }
        line->len += (size_t)n;
        if (line->len > TR_CONTROL_ANSWER_BYTES_MAX)
            return tr_fail(err, TR_E_CONTROL_PROTOCOL,
                           "the answer on %s/%s is longer than %u bytes", state_dir,
                           TR_CONTROL_SOCKET_NAME, TR_CONTROL_ANSWER_BYTES_MAX);
    }
}

enum tr_status tr_control_call(const char *state_dir, const char *request, int timeout_ms,
                               char **answer, struct tr_error *err)
{
    int64_t deadline_ms = tr_clock_mono_ms() + timeout_ms;
    struct tr_outbuf line = {0};
    int fd = -1;
    *answer = NULL;
    if (strchr(request, '\n') != NULL || strlen(request) >= TR_CONTROL_REQUEST_BYTES_MAX)
        return tr_fail(err, TR_E_CONTROL_PROTOCOL,
                       "a control request is one line of at most %u bytes",
                       TR_CONTROL_REQUEST_BYTES_MAX);
    enum tr_status status = dial(state_dir, &fd, err);
    if (status == TR_OK)
        status = send_line(fd, state_dir, request, deadline_ms, timeout_ms, err);
    if (status == TR_OK)
        status = read_line(fd, state_dir, deadline_ms, timeout_ms, &line, err);
    if (status == TR_OK) {
        (void)tr_outbuf_cstr(&line);
        if (line.failed) {
            status = tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for a control answer");
        } else {
            *answer = line.data;
            line = (struct tr_outbuf){0};
        }
    }
    if (fd >= 0)
        (void)close(fd);
    tr_outbuf_free(&line);
    return status;
}
