#include "server.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_TRIES 400
#define ROWS_BUFFERS 4

static char bin_dir[200];

static void die(const char *what)
{
    fprintf(stderr, "test server: %s\n", what);
    exit(1);
}

static bool find_binaries(void)
{
    const char *given = getenv("TAILRACE_TEST_PG_BIN");
    if (given != NULL) {
        snprintf(bin_dir, sizeof bin_dir, "%s", given);
        return true;
    }
    glob_t found;
    bool any = glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) == 0 && found.gl_pathc > 0;
    if (any) {
        const char *path = found.gl_pathv[found.gl_pathc - 1];
        snprintf(bin_dir, sizeof bin_dir, "%.*s", (int)(strlen(path) - strlen("/initdb")), path);
    }
    globfree(&found);
    return any;
}

/* PostgreSQL refuses root: then the server runs as postgres, or as nobody. */
static const struct passwd *server_user(void)
{
    if (getuid() != 0)
        return NULL;
    const struct passwd *user = getpwnam("postgres");
    return user != NULL ? user : getpwnam("nobody");
}

static int spawn(const struct test_server *server, const char *log, char *argv[])
{
    char path[300], log_path[300];
    snprintf(path, sizeof path, "%s/%s", bin_dir, argv[0]);
    snprintf(log_path, sizeof log_path, "%s/%s", server->dir, log);
    fflush(NULL);
    int pid = fork();
    if (pid != 0)
        return pid;
    const struct passwd *user = server_user();
    if (user != NULL &&
        (setgroups(0, NULL) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0))
        _exit(127);
    prctl(PR_SET_PDEATHSIG, SIGQUIT);
    unsetenv("LD_PRELOAD");
    setenv("LC_ALL", "C", 1);
    setenv("TZ", "UTC", 1);
    if (chdir(server->dir) != 0 || freopen(log_path, "a", stdout) == NULL ||
        freopen(log_path, "a", stderr) == NULL)
        _exit(127);
    argv[0] = path; /* initdb looks for postgres beside itself */
    execv(path, argv);
    _exit(127);
}

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        die("no free port");
    close(fd);
    return ntohs(address.sin_port);
}

static void run_server(struct test_server *server)
{
    char port[32], socket_dir[300], data[300], conninfo[200];
    snprintf(port, sizeof port, "port=%d", server->port);
    snprintf(socket_dir, sizeof socket_dir, "unix_socket_directories=%s", server->dir);
    snprintf(data, sizeof data, "%s/data", server->dir);
    char *argv[] = {"postgres",
                    "-D",
                    data,
                    "-c",
                    port,
                    "-c",
                    socket_dir,
                    "-c",
                    "fsync=off",
                    "-c",
                    "listen_addresses=127.0.0.1",
                    "-c",
                    "deadlock_timeout=100ms",
                    "-c",
                    "wal_level=logical",
                    "-c",
                    "max_wal_size=2GB",
                    "-c",
                    "shared_buffers=128MB",
                    "-c",
                    "lc_messages=C",
                    NULL};
    server->pid = spawn(server, "server.log", argv);
    snprintf(conninfo, sizeof conninfo, "host=127.0.0.1 port=%d user=postgres dbname=postgres",
             server->port);
    for (int i = 0; PQping(conninfo) != PQPING_OK; i++) {
        if (i == START_TRIES || waitpid(server->pid, NULL, WNOHANG) == server->pid)
            die("the server did not start; see server.log");
        usleep(25000);
    }
    server->admin = test_server_connect(server);
}

const char *test_server_start(struct test_server *server)
{
    memset(server, 0, sizeof *server);
    if (!find_binaries())
        return "no PostgreSQL server binaries in /usr/lib/postgresql/*/bin";
    const struct passwd *user = server_user();
    if (getuid() == 0 && user == NULL)
        return "no ordinary user to run PostgreSQL as";
    snprintf(server->dir, sizeof server->dir, "%s/tailrace-pgsink-XXXXXX",
             getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    if (mkdtemp(server->dir) == NULL)
        die("no temporary folder");
    if (user != NULL && chown(server->dir, user->pw_uid, user->pw_gid) != 0)
        die("chown failed");
    char *argv[] = {"initdb",   "-D", "data", "-A",         "trust", "-U",
                    "postgres", "-E", "UTF8", "--locale=C", "-N",    NULL};
    int status, pid = spawn(server, "initdb.log", argv);
    if (waitpid(pid, &status, 0) != pid || status != 0)
        die("initdb failed");
    server->port = free_port();
    run_server(server);
    return NULL;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    (void)info;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void end(struct test_server *server, int signal_number)
{
    if (server->admin != NULL)
        PQfinish(server->admin);
    server->admin = NULL;
    if (server->pid > 0) {
        kill(server->pid, signal_number);
        waitpid(server->pid, NULL, 0);
    }
    server->pid = 0;
}

void test_server_stop(struct test_server *server)
{
    end(server, SIGINT);
    if (server->dir[0] != '\0')
        nftw(server->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void test_server_crash(struct test_server *server)
{
    end(server, SIGQUIT);
    run_server(server);
}

PGconn *test_server_connect(const struct test_server *server)
{
    char conninfo[200];
    snprintf(conninfo, sizeof conninfo, "host=127.0.0.1 port=%d user=postgres dbname=postgres",
             server->port);
    PGconn *conn = PQconnectdb(conninfo);
    if (PQstatus(conn) != CONNECTION_OK)
        die(PQerrorMessage(conn));
    test_sql(conn,
             "SET client_min_messages = error; SET timezone = 'UTC'; SET extra_float_digits = 3");
    return conn;
}

static PGresult *query(PGconn *conn, const char *format, va_list args)
{
    char sql[8192];
    vsnprintf(sql, sizeof sql, format, args);
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        fprintf(stderr, "%s\n%s", sql, PQerrorMessage(conn));
        abort();
    }
    return result;
}

void test_sql(PGconn *conn, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    PQclear(query(conn, format, args));
    va_end(args);
}

const char *test_rows(PGconn *conn, const char *format, ...)
{
    static char buffers[ROWS_BUFFERS][65536];
    static int next;
    char *out = buffers[next++ % ROWS_BUFFERS];
    size_t at = 0, size = sizeof buffers[0];
    va_list args;
    va_start(args, format);
    PGresult *result = query(conn, format, args);
    va_end(args);
    out[0] = '\0';
    for (int row = 0; row < PQntuples(result); row++) {
        for (int column = 0; column < PQnfields(result) && at < size; column++)
            at += (size_t)snprintf(
                out + at, size - at, "%s%s", column > 0 ? "|" : "",
                PQgetisnull(result, row, column) ? "~" : PQgetvalue(result, row, column));
        if (at < size)
            at += (size_t)snprintf(out + at, size - at, "\n");
    }
    PQclear(result);
    return out;
}
