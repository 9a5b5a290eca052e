/* A private PostgreSQL server for a test binary: its own folder and port on 127.0.0.1, ended by
 * pid. */
#ifndef TEST_PG_SERVER_H
#define TEST_PG_SERVER_H

#include <libpq-fe.h>
#include <stdbool.h>

struct test_server {
    char dir[256];
    int port;
    int pid;
    PGconn *admin; /* superuser postgres */
};

/* NULL, or why there is no server (no binaries). Exits the process on a real failure. */
const char *test_server_start(struct test_server *server);
void test_server_stop(struct test_server *server);
/* kill -9 of the postmaster's children is not needed here: an immediate stop and a new start. */
void test_server_crash(struct test_server *server);
PGconn *test_server_connect(const struct test_server *server);
/* SQL that must succeed. */
void test_sql(PGconn *conn, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* All rows as "a|b\n", NULL as ~; in a static buffer of the last calls. */
const char *test_rows(PGconn *conn, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
