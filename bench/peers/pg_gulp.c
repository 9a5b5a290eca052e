/* The floor of reading PostgreSQL's log: a reader that does nothing with what it reads, and reads
 * in large gulps.
 *
 *     pg_gulp CONNINFO SLOT PUBLICATION END_LSN [SLEEP_US]
 *
 * A walsender sends each change as soon as the socket takes it. While the receiver's window is open
 * every message costs it a packet; while it is closed, only a copy. So this reader leaves the
 * socket full: it takes three reads of libpq's 16 KB, then sleeps, an eighth shorter when nothing
 * came in the meantime or the socket filled up at once (the window was closed), else an eighth
 * longer (SLEEP_US at most, default 4000; 0 reads as fast as it can). When many small packets came
 * nevertheless it does not sleep ten times: so few packets acknowledged at once keep the sender's
 * congestion control from sending many (src/source/postgres/pace.c says more). That is the fastest
 * that the walsender of this machine was seen to deliver pgoutput (proto_version 1, as tailrace
 * asks for) to anybody.
 *
 * Ends when the log has been read up to END_LSN; the position is confirmed at the end only. Prints
 * "messages bytes seconds", the seconds from the first byte. bench/e2e compiles and runs it. */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#define HEADER_BYTES 25 /* 'w', start, end, time */
#define KEEPALIVE_BYTES 18
#define COMMIT_BYTES 26  /* 'C', flags, commit, end, time */
#define SILENCE_MS 60000 /* a walsender without a word for so long is dead */
#define STATUS_BYTES 34
#define PG_EPOCH_SECONDS 946684800
#define READ_BYTES (16 << 10)   /* of libpq's buffer */
#define REFILL_BYTES (24 << 10) /* arrived while we read: what was waiting */
#define TRICKLE_BYTES 1024      /* fewer in a pause: the window is closed */
#define SMALL_SEGMENTS 48
#define SMALL_BYTES 1024 /* of a packet, in the middle */
#define EAGER_LOOKS 10
#define EAGER_EVERY 3 /* pauses */
#define SLEEP_FIRST_US 500
#define SLEEP_MIN_US 100

static void require(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "pg_gulp: %s\n", what);
        exit(1);
    }
}

static uint64_t be64(const char *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return be64toh(value);
}

static double now_seconds(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void put64(char *at, uint64_t value)
{
    value = htobe64(value);
    memcpy(at, &value, sizeof value);
}

static void send_status(PGconn *conn, uint64_t lsn)
{
    char status[STATUS_BYTES] = {'r'};
    put64(status + 1, lsn);
    put64(status + 9, lsn);
    put64(status + 17, lsn);
    put64(status + 25, (uint64_t)((now_seconds(CLOCK_REALTIME) - PG_EPOCH_SECONDS) * 1e6));
    require(PQputCopyData(conn, status, sizeof status) == 1 && PQflush(conn) >= 0,
            PQerrorMessage(conn));
}

static void start(PGconn *conn, const char *slot, const char *publication)
{
    char sql[512];
    int len = snprintf(sql, sizeof sql,
                       "START_REPLICATION SLOT \"%s\" LOGICAL 0/0 (proto_version '1', "
                       "publication_names '\"%s\"')",
                       slot, publication);
    require(len > 0 && (size_t)len < sizeof sql, "the names are too long");
    PGresult *result = PQexec(conn, sql);
    require(PQresultStatus(result) == PGRES_COPY_BOTH, PQerrorMessage(conn));
    PQclear(result);
}

struct reader {
    PGconn *conn;
    uint64_t end, confirmed;
    uint64_t messages, bytes;
    double began;
};

/* true: the end was reached. The server keeps a walsender alive by itself only while somebody
 * answers, so a keepalive that asks is answered with what was confirmed before. */
static bool take(struct reader *reader, const char *data, int len)
{
    if (data[0] == 'k') {
        require(len >= KEEPALIVE_BYTES, "a short keepalive");
        if (data[KEEPALIVE_BYTES - 1])
            send_status(reader->conn, reader->confirmed);
        return be64(data + 1) >= reader->end;
    }
    require(data[0] == 'w' && len > HEADER_BYTES, "an unknown message");
    if (reader->messages++ == 0)
        reader->began = now_seconds(CLOCK_MONOTONIC);
    reader->bytes += (uint64_t)len;
    const char *body = data + HEADER_BYTES;
    return body[0] == 'C' && len >= HEADER_BYTES + COMMIT_BYTES && be64(body + 10) >= reader->end;
}

static bool readable(PGconn *conn, int wait_ms)
{
    struct pollfd ready = {.fd = PQsocket(conn), .events = POLLIN};
    int found;
    do
        found = poll(&ready, 1, wait_ms);
    while (found < 0 && errno == EINTR);
    return found > 0;
}

static int bytes_in(PGconn *conn)
{
    int queued = 0;
    require(ioctl(PQsocket(conn), FIONREAD, &queued) == 0, "FIONREAD");
    return queued;
}

struct pace {
    double sleep_us, sleep_max_us;
    int queued; /* when the last pause ended */
    int taken;  /* since then */
    uint32_t segments;
    uint64_t bytes;
    int pauses, eager; /* since the last eager looks; looks without a pause still to come */
};

/* Many small packets since the last call? */
static bool in_small_segments(PGconn *conn, struct pace *pace)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    if (getsockopt(PQsocket(conn), IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
        return false;
    uint32_t segments = info.tcpi_data_segs_in - pace->segments;
    uint64_t bytes = info.tcpi_bytes_received - pace->bytes;
    pace->segments = info.tcpi_data_segs_in;
    pace->bytes = info.tcpi_bytes_received;
    return segments >= SMALL_SEGMENTS && bytes < (uint64_t)segments * SMALL_BYTES;
}

/* Returns how often to read before the next pause. */
static int gather(PGconn *conn, struct pace *pace)
{
    int reads = 1;
    if (pace->eager > 0) {
        pace->eager--;
        pace->taken = 0;
    } else if (pace->sleep_max_us > 0) {
        int left = bytes_in(conn), refill = left + pace->taken - pace->queued;
        struct timespec pause = {.tv_nsec = (long)(pace->sleep_us * 1000)};
        (void)nanosleep(&pause, NULL);
        pace->queued = bytes_in(conn);
        bool closed = left >= READ_BYTES && pace->queued - left < TRICKLE_BYTES;
        pace->sleep_us *= closed || refill >= REFILL_BYTES ? 0.875 : 1.125;
        if (pace->sleep_us > pace->sleep_max_us)
            pace->sleep_us = pace->sleep_max_us;
        if (pace->sleep_us < SLEEP_MIN_US)
            pace->sleep_us = SLEEP_MIN_US;
        reads = pace->queued <= READ_BYTES ? 1 : pace->queued >= 3 * READ_BYTES ? 3 : 2;
        pace->taken = 0;
        if (in_small_segments(conn, pace) && ++pace->pauses >= EAGER_EVERY) {
            pace->pauses = 0;
            pace->eager = EAGER_LOOKS;
        }
    }
    require(readable(conn, SILENCE_MS), "the server is silent");
    return reads;
}

int main(int argc, char **argv)
{
    require(argc == 5 || argc == 6, "usage: pg_gulp CONNINFO SLOT PUBLICATION END_LSN [SLEEP_US]");
    unsigned high, low;
    require(sscanf(argv[4], "%X/%X", &high, &low) == 2, "END_LSN is like 0/16B3748");
    struct pace pace = {.sleep_us = SLEEP_FIRST_US,
                        .sleep_max_us = argc == 6 ? strtod(argv[5], NULL) : 4000};
    require(pace.sleep_max_us >= 0 && pace.sleep_max_us < 1e6, "SLEEP_US is below a second");
    struct reader reader = {.conn = PQconnectdb(argv[1]), .end = (uint64_t)high << 32 | low};
    require(PQstatus(reader.conn) == CONNECTION_OK, PQerrorMessage(reader.conn));
    start(reader.conn, argv[2], argv[3]);
    int reads = 0;
    for (bool ended = false; !ended;) {
        char *data = NULL;
        int len = PQgetCopyData(reader.conn, &data, 1);
        require(len >= 0, PQerrorMessage(reader.conn));
        if (len == 0) {
            if (reads == 0)
                reads = gather(reader.conn, &pace);
            require(PQconsumeInput(reader.conn) == 1, PQerrorMessage(reader.conn));
            reads--;
            continue;
        }
        pace.taken += len;
        ended = take(&reader, data, len);
        PQfreemem(data);
    }
    double seconds = now_seconds(CLOCK_MONOTONIC) - reader.began;
    send_status(reader.conn, reader.end);
    (void)PQputCopyEnd(reader.conn, NULL);
    (void)PQflush(reader.conn);
    printf("%" PRIu64 " %" PRIu64 " %.6f\n", reader.messages, reader.bytes, seconds);
    PQfinish(reader.conn);
    return 0;
}
