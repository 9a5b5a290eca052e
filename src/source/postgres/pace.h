/* When the stream's reader looks at its socket while there is a backlog. See pace.c. */
#ifndef TAILRACE_SOURCE_POSTGRES_PACE_H
#define TAILRACE_SOURCE_POSTGRES_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tr_pg_pace {
    int fd;
    int64_t pause_us;       /* the next pause */
    int64_t pause_max_us;   /* 0: never pauses */
    int64_t looked_us;      /* when the last pause ended */
    int64_t queued;         /* bytes in the socket when the last one ended */
    size_t look_bytes;      /* taken since the last wait */
    unsigned reads_left;    /* of this look */
    unsigned quick_waits;   /* in a row */
    unsigned slow_waits;    /* since much was taken */
    uint64_t segment_bytes; /* received, when the last pause ended */
    uint32_t segments;
    unsigned paused_looks; /* since the last eager ones */
    unsigned eager_looks;  /* still to come */
    bool small_segments;   /* what came in the last pause */
    bool backlog;
    bool whole_looks; /* until nothing is left */
};

/* fd: the socket of a replication connection. With TLS a look is always whole: what the library
 * holds decoded would not make the socket readable. */
void tr_pg_pace_init(struct tr_pg_pace *pace, int fd, bool tls, int64_t pause_max_us);

/* The socket was waited for; pauses while there is a backlog. */
void tr_pg_pace_waited(struct tr_pg_pace *pace, bool readable, int64_t waited_us);

/* One more read in this look? false: the rest is better left in the socket. */
bool tr_pg_pace_read_on(struct tr_pg_pace *pace);

/* What the next pause is. behind: the reader is the slower one; queued bytes lay in the socket at
 * the end of the last pause, elapsed_us after the end of the one before. */
int64_t tr_pg_pace_next(int64_t pause_us, int64_t pause_max_us, bool behind, int64_t queued,
                        int64_t elapsed_us);

#endif
