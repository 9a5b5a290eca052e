/* The pace of reading a backlog.
 *
 * A walsender sends each message by itself, as soon as the socket takes it. What that costs it
 * depends on the reader. While the receiver's window is open, each send goes through the whole
 * network stack and, if the reader waits, wakes it: 5 µs and more. While the window is closed, the
 * message is only appended to what waits already, in 1 µs, and leaves later in large pieces. So the
 * fastest reader is not the eager one, but one who keeps the window nearly closed and still takes
 * what the walsender can make. Hence, with a backlog:
 *
 *   - a look takes what lay in the socket when it began, LOOK_BYTES at most (READS_MAX reads when
 *     it holds very much: wide rows). It leaves the rest where it is, and does not run after a
 *     walsender that goes on sending;
 *   - between two looks is a pause. It becomes an eighth shorter when we are the slower one:
 * nothing came while we paused though there was something to read (the window is closed), the
 * socket filled up again while we read (so much was waiting), or it holds very much. Else it
 * becomes an eighth longer: the window is open, and the walsender pays for it. At the longest pause
 *     LOOK_BYTES are less than what comes, so that the window closes in the end.
 *
 * A backlog begins when one look brought much, or there was something to read, without waiting for
 * it, many times in a row; it ends with a long wait, or with several of BACKLOG_END_US. A shorter
 * one only says that the walsender had no processor for a moment: who became eager then would make
 * it slower still. A lone transaction is no backlog, so that no latency is added when there is
 * none. Below HEAVY_BYTES_MS the pause stays short, because the walsender has time enough.
 *
 * Congestion control may open the window again by itself. BBR lets a sender have as many packets on
 * their way as were acknowledged at once before; a reader who pauses acknowledges many, so that a
 * few small ones more go out before each pause ends, until all of them are small. Ten looks without
 * a pause, which acknowledge a few packets each, take that back: they are made when many small
 * packets came (what they were is asked of TCP_INFO). Without them 2 to 8 times as many packets
 * were sent. CUBIC does not close the window at all on the loopback; there the walsender's cost
 * stays.
 *
 * The receive buffer's size is the kernel's affair. A small one (SO_RCVBUF) closes the window
 * sooner, but what many small packets weigh in it makes the kernel drop some.
 *
 * Measured with pgoutput on the loopback, 1 M changes: an eager reader costs the walsender 10 to
 * 17 CPU s in transactions of 1, this one 8; docs/performance.md. */
#include "source/postgres/pace.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"

#define LOOK_BYTES (48 << 10)
#define READ_BYTES (16 << 10)   /* libpq's buffer */
#define READS_MAX 8             /* without a pause before */
#define REFILL_BYTES (24 << 10) /* arrived while we read: what was waiting, not what was made */
#define MUCH_BYTES (256 << 10)
#define TRICKLE_BYTES 1024  /* fewer in a pause, with much in the socket: the window is closed */
#define HEAVY_BYTES_MS 4000 /* a walsender that sends so much is busy */
#define PAUSE_FIRST_US 500
#define PAUSE_MIN_US 100
#define BACKLOG_WAIT_US 300   /* a wait shorter than that is none */
#define BACKLOG_WAITS 8       /* so many in a row are a backlog */
#define BACKLOG_END_US 2000   /* nothing came for so long: it may be at its end */
#define BACKLOG_SLOW_WAITS 4  /* so many of those, with little between them: it is */
#define BACKLOG_GONE_US 20000 /* nothing came for so long: it is */

#define SMALL_SEGMENTS 48 /* so many between two looks, */
#define SMALL_BYTES 1024  /* of less than this in the middle: the window is open */
#define EAGER_LOOKS 10
#define EAGER_EVERY 3 /* paused looks at least between eager ones */

static int64_t at_most(int64_t us, int64_t max_us) { return us < max_us ? us : max_us; }

static int64_t at_least(int64_t us, int64_t min_us) { return us > min_us ? us : min_us; }

void tr_pg_pace_init(struct tr_pg_pace *pace, int fd, bool tls, int64_t pause_max_us)
{
    *pace = (struct tr_pg_pace){.fd = fd, .pause_max_us = pause_max_us};
    pace->whole_looks = tls;
    pace->pause_us = at_most(PAUSE_FIRST_US, pause_max_us);
    pace->reads_left = READS_MAX;
}

bool tr_pg_pace_read_on(struct tr_pg_pace *pace)
{
    if (pace->whole_looks)
        return true;
    if (pace->reads_left == 0)
        return false;
    pace->reads_left--;
    return true;
}

int64_t tr_pg_pace_next(int64_t pause_us, int64_t pause_max_us, bool behind, int64_t queued,
                        int64_t elapsed_us)
{
    int64_t shorter_us = pause_us - pause_us / 8;
    if (behind)
        return at_most(at_least(shorter_us, PAUSE_MIN_US), pause_max_us);
    if (queued * 1000 < elapsed_us * HEAVY_BYTES_MS)
        return at_most(at_least(shorter_us, PAUSE_FIRST_US), pause_max_us);
    return at_most(pause_us + pause_us / 8, pause_max_us);
}

static int64_t bytes_in(int fd)
{
    int queued = 0;
    return ioctl(fd, SIOCINQ, &queued) == 0 ? queued : 0;
}

/* Whether what came since the last call came in many small packets. A Unix socket has none. */
static bool in_small_segments(struct tr_pg_pace *pace)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    if (getsockopt(pace->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
        size < offsetof(struct tcp_info, tcpi_data_segs_in) + sizeof info.tcpi_data_segs_in)
        return false;
    uint32_t segments = info.tcpi_data_segs_in - pace->segments;
    uint64_t bytes = info.tcpi_bytes_received - pace->segment_bytes;
    pace->segments = info.tcpi_data_segs_in;
    pace->segment_bytes = info.tcpi_bytes_received;
    return segments >= SMALL_SEGMENTS && bytes < (uint64_t)segments * SMALL_BYTES;
}

/* Is this one of the looks without a pause? */
static bool is_eager(struct tr_pg_pace *pace)
{
    if (pace->small_segments && pace->paused_looks >= EAGER_EVERY) {
        pace->small_segments = false;
        pace->paused_looks = 0;
        pace->eager_looks = EAGER_LOOKS;
    }
    if (pace->eager_looks == 0)
        return false;
    pace->eager_looks--;
    return true;
}

static void take_pause(struct tr_pg_pace *pace, size_t taken)
{
    int64_t left = bytes_in(pace->fd), refill = left + (int64_t)taken - pace->queued;
    struct timespec pause = {.tv_sec = pace->pause_us / 1000000,
                             .tv_nsec = pace->pause_us % 1000000 * 1000};
    (void)nanosleep(&pause, NULL);
    int64_t now_us = tr_clock_mono_us();
    pace->queued = bytes_in(pace->fd);
    bool closed = left >= READ_BYTES && pace->queued - left < TRICKLE_BYTES;
    bool behind = closed || refill >= REFILL_BYTES || pace->queued >= MUCH_BYTES;
    pace->pause_us = tr_pg_pace_next(pace->pause_us, pace->pause_max_us, behind, pace->queued,
                                     now_us - pace->looked_us);
    pace->looked_us = now_us;
    pace->small_segments = in_small_segments(pace);
    pace->paused_looks++;
    int64_t look = pace->queued >= MUCH_BYTES ? READS_MAX * READ_BYTES : LOOK_BYTES;
    int64_t take = at_most(pace->queued, look) - 1; /* the first read is made anyway */
    pace->reads_left = take < 0 ? 0 : (unsigned)(take / READ_BYTES);
}

/* Whether one more wait says that the backlog is at its end. */
static bool is_over(struct tr_pg_pace *pace, int64_t waited_us)
{
    if (waited_us < BACKLOG_END_US)
        return false;
    pace->slow_waits++;
    return waited_us >= BACKLOG_GONE_US || pace->slow_waits >= BACKLOG_SLOW_WAITS;
}

void tr_pg_pace_waited(struct tr_pg_pace *pace, bool readable, int64_t waited_us)
{
    pace->reads_left = READS_MAX;
    if (!readable && waited_us < BACKLOG_END_US)
        return; /* only a look, without waiting */
    bool quick = readable && waited_us < BACKLOG_WAIT_US;
    size_t taken = pace->look_bytes;
    bool much = taken >= LOOK_BYTES / 2;
    pace->look_bytes = 0;
    pace->quick_waits = quick ? pace->quick_waits + 1 : 0;
    if (quick && (much || pace->quick_waits >= BACKLOG_WAITS))
        pace->backlog = true;
    else if (is_over(pace, waited_us))
        pace->backlog = false;
    if (much || !pace->backlog)
        pace->slow_waits = 0;
    if (pace->backlog && readable && pace->pause_max_us > 0 && !is_eager(pace))
        take_pause(pace, taken);
}
