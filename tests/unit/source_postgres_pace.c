/* The pace of reading a backlog: how long the pauses become, and how much one look takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "source/postgres/pace.h"

#define MAX_US 4000
#define FULL (200 << 10)
#define QUICK_US 10
#define MANY 200

static int64_t settle(int64_t pause_us, int64_t max_us, bool behind, int64_t queued,
                      int64_t bytes_ms)
{
    for (int i = 0; i < MANY; i++) {
        int64_t elapsed_us = bytes_ms > 0 ? queued * 1000 / bytes_ms : 1;
        pause_us = tr_pg_pace_next(pause_us, max_us, behind, queued, elapsed_us);
        assert_in_range(pause_us, 0, max_us);
    }
    return pause_us;
}

static void who_is_behind_pauses_less(void **state)
{
    (void)state;
    assert_int_equal(tr_pg_pace_next(1600, MAX_US, true, FULL, 1600), 1400);
    assert_int_equal(settle(MAX_US, MAX_US, true, FULL, 40000), 100);
    assert_int_equal(settle(50, 50, true, FULL, 40000), 50); /* gather.time.us is the longest */
}

static void a_busy_walsender_is_given_time(void **state)
{
    (void)state;
    assert_int_equal(tr_pg_pace_next(800, MAX_US, false, 20 << 10, 1000), 900);
    assert_int_equal(settle(100, MAX_US, false, 20 << 10, 15000), MAX_US);
    assert_int_equal(settle(500, 700, false, 20 << 10, 15000), 700);
}

static void a_light_flow_is_read_soon(void **state)
{
    (void)state;
    assert_int_equal(settle(MAX_US, MAX_US, false, 1000, 500), 500);
    assert_int_equal(settle(300, 300, false, 1000, 500), 300);
    assert_int_equal(settle(MAX_US, MAX_US, false, 0, 0), 500);
}

static unsigned reads_after_backlog(struct tr_pg_pace *pace)
{
    for (int i = 0; i < 8; i++)
        tr_pg_pace_waited(pace, true, QUICK_US);
    unsigned reads = 1; /* the one that follows every wait */
    while (reads < MANY && tr_pg_pace_read_on(pace))
        reads++;
    return reads;
}

static int open_pair(void **state)
{
    static int fds[2];
    *state = fds;
    return socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
}

static int close_pair(void **state)
{
    const int *fds = *state;
    return close(fds[0]) | close(fds[1]);
}

static void a_look_takes_what_lay_there(void **state)
{
    const int *fds = *state;
    static char bytes[100 << 10];
    struct tr_pg_pace pace;
    tr_pg_pace_init(&pace, fds[0], false, MAX_US);
    assert_int_equal(reads_after_backlog(&pace), 1);
    assert_int_equal(write(fds[1], bytes, 20 << 10), 20 << 10);
    assert_int_equal(reads_after_backlog(&pace), 2);
    assert_int_equal(write(fds[1], bytes, 60 << 10), 60 << 10);
    assert_int_equal(reads_after_backlog(&pace), 3); /* the rest stays in the socket */
    tr_pg_pace_init(&pace, fds[0], true, MAX_US);
    assert_int_equal(reads_after_backlog(&pace), MANY); /* TLS: nothing may stay in the library */
}

/* Takes READ bytes and gives `more` back in their place; the pause that follows from it. */
static int64_t pause_after(struct tr_pg_pace *pace, const int fds[2], size_t taken, size_t more)
{
    static char bytes[100 << 10];
    assert_int_equal(read(fds[0], bytes, taken), (ssize_t)taken);
    if (more > 0)
        assert_int_equal(write(fds[1], bytes, more), (ssize_t)more);
    pace->look_bytes = taken;
    tr_pg_pace_waited(pace, true, QUICK_US);
    return pace->pause_us;
}

static void a_closed_window_is_noticed(void **state)
{
    const int *fds = *state;
    static char bytes[100 << 10];
    struct tr_pg_pace pace;
    tr_pg_pace_init(&pace, fds[0], false, MAX_US);
    assert_int_equal(write(fds[1], bytes, sizeof bytes), sizeof bytes);
    (void)reads_after_backlog(&pace);
    int64_t pause_us = pace.pause_us;
    /* nothing comes though there is something to read */
    assert_true(pause_after(&pace, fds, 48 << 10, 0) < pause_us);
    /* what was taken is there again at once */
    pause_us = pace.pause_us;
    assert_true(pause_after(&pace, fds, 48 << 10, 48 << 10) < pause_us);
}

/* Whether a look is cut to what lay in the (empty) socket, as it is while there is a backlog. */
static bool paced(struct tr_pg_pace *pace, bool readable, int64_t waited_us)
{
    tr_pg_pace_waited(pace, readable, waited_us);
    return !tr_pg_pace_read_on(pace);
}

/* A moment without anything does not end a backlog; a long one, or several, do. */
static void a_backlog_ends_when_nothing_comes(void **state)
{
    const int *fds = *state;
    struct tr_pg_pace pace;
    tr_pg_pace_init(&pace, fds[0], false, MAX_US);
    assert_int_equal(reads_after_backlog(&pace), 1);
    assert_true(paced(&pace, true, 1000));
    assert_false(paced(&pace, false, 0)); /* only a look */
    for (int i = 0; i < 3; i++)
        assert_true(paced(&pace, true, 3000));
    assert_false(paced(&pace, true, 3000));
    assert_false(paced(&pace, true, QUICK_US));
    assert_int_equal(reads_after_backlog(&pace), 1);
    assert_false(paced(&pace, true, 30000));
    assert_int_equal(reads_after_backlog(&pace), 1);
    assert_false(paced(&pace, false, 30000)); /* a timeout */
    assert_false(paced(&pace, true, QUICK_US));
}

/* Looks that find nothing, between batches, are not the end of a backlog, nor of its beginning. */
static void a_look_without_waiting_changes_nothing(void **state)
{
    const int *fds = *state;
    struct tr_pg_pace pace;
    tr_pg_pace_init(&pace, fds[0], false, MAX_US);
    for (int i = 0; i < 7; i++) {
        assert_false(paced(&pace, true, QUICK_US));
        assert_false(paced(&pace, false, 0));
    }
    assert_true(paced(&pace, true, QUICK_US));
    assert_false(paced(&pace, false, 0));
    assert_true(paced(&pace, true, 1000));
}

static int open_tcp_pair(void **state)
{
    static int fds[2];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fds[1], (struct sockaddr *)&address, sizeof address), 0);
    fds[0] = accept(listener, NULL, NULL);
    assert_true(fds[0] >= 0);
    assert_int_equal(setsockopt(fds[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    *state = fds;
    return close(listener);
}

/* Each a packet, for the other side takes it before the next one is sent. */
static void send_packets(const int fds[2], unsigned count, size_t packet_bytes)
{
    static char bytes[4096];
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(send(fds[1], bytes, packet_bytes, 0), (ssize_t)packet_bytes);
        assert_int_equal(recv(fds[0], bytes, packet_bytes, MSG_WAITALL), (ssize_t)packet_bytes);
    }
}

/* After many small packets come looks without a pause, and then pauses again. */
static void small_packets_are_answered_by_eager_looks(void **state)
{
    const int *fds = *state;
    struct tr_pg_pace pace;
    tr_pg_pace_init(&pace, fds[0], false, MAX_US);
    assert_int_equal(reads_after_backlog(&pace), 1);
    for (int i = 0; i < 4; i++) {
        send_packets(fds, 100, 2000); /* many, and not small */
        assert_true(paced(&pace, true, QUICK_US));
    }
    send_packets(fds, 20, 100); /* small, and not many */
    assert_true(paced(&pace, true, QUICK_US));
    send_packets(fds, 100, 100);
    assert_true(paced(&pace, true, QUICK_US));
    for (int i = 0; i < 10; i++)
        assert_false(paced(&pace, true, QUICK_US));
    for (int i = 0; i < 3; i++) { /* not again at once */
        send_packets(fds, 100, 100);
        assert_true(paced(&pace, true, QUICK_US));
    }
    assert_false(paced(&pace, true, QUICK_US));
}

/* With very much in the socket a look takes more of it. */
static void a_full_socket_is_read_in_larger_looks(void **state)
{
    const int *fds = *state;
    int bytes_max = 1 << 20;
    static char bytes[280 << 10];
    struct tr_pg_pace pace;
    assert_int_equal(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &bytes_max, sizeof bytes_max), 0);
    assert_int_equal(send(fds[1], bytes, sizeof bytes, MSG_DONTWAIT), sizeof bytes);
    tr_pg_pace_init(&pace, fds[0], false, MAX_US);
    assert_int_equal(reads_after_backlog(&pace), 8);
}

/* Without a backlog, and with gather.time.us 0, nothing pauses: no look is cut to what lay there.
 */
static void a_lone_transaction_is_not_paced(void **state)
{
    const int *fds = *state;
    struct tr_pg_pace pace;
    tr_pg_pace_init(&pace, fds[0], false, MAX_US);
    for (int i = 0; i < MANY; i++)
        tr_pg_pace_waited(&pace, i % 4 != 0, i % 2 == 0 ? QUICK_US : 1000);
    assert_true(tr_pg_pace_read_on(&pace));
    tr_pg_pace_init(&pace, fds[0], false, 0);
    assert_int_not_equal(reads_after_backlog(&pace), 1);
}

int main(void)
{
#define PAIR(name) cmocka_unit_test_setup_teardown(name, open_pair, close_pair)
#define TCP_PAIR(name) cmocka_unit_test_setup_teardown(name, open_tcp_pair, close_pair)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_behind_pauses_less),
        PAIR(a_closed_window_is_noticed),
        cmocka_unit_test(a_busy_walsender_is_given_time),
        cmocka_unit_test(a_light_flow_is_read_soon),
        PAIR(a_look_takes_what_lay_there),
        PAIR(a_backlog_ends_when_nothing_comes),
        PAIR(a_look_without_waiting_changes_nothing),
        PAIR(a_full_socket_is_read_in_larger_looks),
        TCP_PAIR(small_packets_are_answered_by_eager_looks),
        PAIR(a_lone_transaction_is_not_paced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
