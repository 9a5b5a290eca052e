/* The control socket's server: one thread, one poll loop, a bounded number of clients.
 *
 * A client is in one of two states: READING a request line (until it is whole, too long or the
 * client silent too long) or WRITING an answer. While it writes, nothing more is read from it, so a
 * client that does not read its answers cannot make us hold more than one of them. Stop rings an
 * eventfd. */
#include "control/control.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/outbuf.h"
#include "base/thread.h"
#include "control/address.h"

#define LISTEN_BACKLOG 16
#define STOP_GRACE_MS 500 /* for answers that are on their way when the server stops */
#define POLL_MS 1000
#define READ_BYTES 4096u

struct client {
    int fd; /* -1: free */
    int64_t deadline_ms;
    struct tr_outbuf in, out;
    size_t sent;
};
struct tr_control_server {
    tr_control_handler handler;
    void *ctx;
    struct tr_control_address address;
    int listen_fd, stop_fd;
    bool bound, running;
    pthread_t thread;
    struct client clients[TR_CONTROL_CLIENTS_MAX];
};

/* ---- answers --------------------------------------------------------------------------------- */

json_t *tr_control_ok(void) { return json_pack("{s:b}", "ok", 1); }

/* A message that was cut in the middle of a character is not UTF-8: then its other bytes are '?'.
 */
static json_t *text_node(const char *text)
{
    json_t *node = json_string(text);
    char *copy = node != NULL ? NULL : strdup(text);
    if (copy == NULL)
        return node;
    for (char *c = copy; *c != '\0'; c++) {
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    }
    node = json_string(copy);
    free(copy);
    return node;
}

json_t *tr_control_refuse(enum tr_code code, const char *message)
{
    return json_pack("{s:b, s:{s:s, s:o}}", "ok", 0, "error", "code", tr_error_info(code)->name,
                     "message", text_node(message));
}

json_t *tr_control_refuse_error(const struct tr_error *err)
{
    return json_pack("{s:b, s:{s:s, s:s, s:o, s:o, s:o}}", "ok", 0, "error", "code",
                     tr_error_info(err->code)->name, "class", tr_err_class_name(err->class),
                     "message", text_node(err->message), "detail", text_node(err->detail), "hint",
                     text_node(err->hint));
}

static json_t *answer_line(struct tr_control_server *server, const char *line, size_t len)
{
    json_error_t where;
    json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, &where);
    if (request == NULL)
        return tr_control_refuse(TR_E_CONTROL_PROTOCOL, "the request is not one line of JSON");
    const char *command = json_string_value(json_object_get(request, "command"));
    json_t *answer = command == NULL
                         ? tr_control_refuse(TR_E_CONTROL_PROTOCOL,
                                             "the request has no string member \"command\"")
                         : server->handler(server->ctx, command, request);
    json_decref(request);
    return answer;
}

static void put_answer(struct client *client, json_t *answer)
{
    static const char fallback[] = "{\"ok\":false,\"error\":{\"code\":\"INTERNAL\",\"message\":"
                                   "\"no answer could be made\"}}\n";
    char *text = answer == NULL ? NULL : json_dumps(answer, JSON_COMPACT);
    json_decref(answer);
    tr_outbuf_clear(&client->out);
    client->sent = 0;
    if (text != NULL && strlen(text) < TR_CONTROL_ANSWER_BYTES_MAX) {
        tr_outbuf_str(&client->out, text);
        tr_outbuf_lit(&client->out, "\n");
    } else {
        tr_outbuf_str(&client->out, fallback);
    }
    free(text);
}

/* ---- clients --------------------------------------------------------------------------------- */

static void client_close(struct client *client)
{
    if (client->fd >= 0)
        (void)close(client->fd);
    client->fd = -1;
    tr_outbuf_free(&client->in);
    tr_outbuf_free(&client->out);
    client->sent = 0;
}

static void touch(struct client *client)
{
    client->deadline_ms = tr_clock_mono_ms() + TR_CONTROL_CLIENT_IDLE_MS;
}

static bool is_writing(const struct client *client) { return client->sent < client->out.len; }

/* The socket's mode keeps others out; this holds even where somebody widened it. */
static bool is_allowed(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    return peer.uid == geteuid() || peer.uid == 0;
}

static void accept_client(struct tr_control_server *server)
{
    int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    struct client *free_client = NULL;
    for (size_t i = 0; i < TR_CONTROL_CLIENTS_MAX && free_client == NULL; i++) {
        if (server->clients[i].fd < 0)
            free_client = &server->clients[i];
    }
    if (free_client == NULL || !is_allowed(fd)) {
        (void)close(fd);
        return;
    }
    free_client->fd = fd;
    touch(free_client);
}

static void client_write(struct client *client)
{
    while (is_writing(client)) {
        ssize_t n = send(client->fd, client->out.data + client->sent,
                         client->out.len - client->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            client_close(client);
            return;
        }
        client->sent += (size_t)n;
        touch(client);
    }
    tr_outbuf_clear(&client->out);
    client->sent = 0;
}

/* Answers the lines that are in, one after the other, while their answers can be sent. */
static void client_serve(struct tr_control_server *server, struct client *client)
{
    while (client->fd >= 0 && !is_writing(client) && client->in.len > 0) {
        char *newline = memchr(client->in.data, '\n', client->in.len);
        bool too_long = client->in.len >= TR_CONTROL_REQUEST_BYTES_MAX;
        if (newline == NULL && !too_long)
            return;
        if (newline == NULL) {
            put_answer(client, tr_control_refuse(TR_E_CONTROL_PROTOCOL, "the request is too long"));
            client_write(client);
            client_close(client);
            return;
        }
        size_t len = (size_t)(newline - client->in.data);
        put_answer(client, answer_line(server, client->in.data, len));
        client->in.len -= len + 1;
        memmove(client->in.data, newline + 1, client->in.len);
        if (client->out.failed) {
            client_close(client);
            return;
        }
        client_write(client);
    }
}

static void client_read(struct tr_control_server *server, struct client *client)
{
    if (!tr_outbuf_reserve(&client->in, READ_BYTES)) {
        client_close(client);
        return;
    }
    ssize_t n = recv(client->fd, client->in.data + client->in.len, READ_BYTES, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        client_close(client);
        return;
    }
    client->in.len += (size_t)n;
    touch(client);
    client_serve(server, client);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void handle_client(struct tr_control_server *server, struct client *client, short events,
                          int64_t now_ms)
{
    if ((events & POLLOUT) != 0) {
        client_write(client);
        if (client->fd >= 0)
            client_serve(server, client);
    } else if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) {
        client_read(server, client);
    } else if (now_ms >= client->deadline_ms) {
        client_close(client);
    }
}

static bool any_writing(const struct tr_control_server *server)
{
    for (size_t i = 0; i < TR_CONTROL_CLIENTS_MAX; i++) {
        if (server->clients[i].fd >= 0 && is_writing(&server->clients[i]))
            return true;
    }
    return false;
}

static void *serve(void *arg)
{
    struct tr_control_server *server = arg;
    int64_t stop_at_ms = 0; /* 0: not asked to stop */
    tr_thread_name("control", NULL);
    for (;;) {
        struct pollfd polls[TR_CONTROL_CLIENTS_MAX + 2];
        for (size_t i = 0; i < TR_CONTROL_CLIENTS_MAX; i++) {
            const struct client *client = &server->clients[i];
            polls[i] = (struct pollfd){.fd = client->fd, .events = POLLIN};
            if (client->fd >= 0 && is_writing(client))
                polls[i].events = POLLOUT;
        }
        bool stopping = stop_at_ms != 0;
        polls[TR_CONTROL_CLIENTS_MAX] =
            (struct pollfd){.fd = stopping ? -1 : server->listen_fd, .events = POLLIN};
        polls[TR_CONTROL_CLIENTS_MAX + 1] =
            (struct pollfd){.fd = stopping ? -1 : server->stop_fd, .events = POLLIN};
        int ready =
            poll(polls, TR_CONTROL_CLIENTS_MAX + 2, stopping ? STOP_GRACE_MS / 10 : POLL_MS);
        int64_t now_ms = tr_clock_mono_ms();
        if (ready < 0)
            continue; /* a signal */
        for (size_t i = 0; i < TR_CONTROL_CLIENTS_MAX; i++) {
            if (server->clients[i].fd >= 0)
                handle_client(server, &server->clients[i], polls[i].revents, now_ms);
        }
        if ((polls[TR_CONTROL_CLIENTS_MAX].revents & POLLIN) != 0)
            accept_client(server);
        if ((polls[TR_CONTROL_CLIENTS_MAX + 1].revents & POLLIN) != 0)
            stop_at_ms = now_ms + STOP_GRACE_MS;
        if (stop_at_ms != 0 && (!any_writing(server) || now_ms >= stop_at_ms))
            return NULL;
    }
}

/* The path again: by the folder's descriptor when the path was too long. */
static int listen_on(struct tr_control_server *server)
{
    server->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (server->listen_fd < 0)
        return errno;
    if (unlink(server->address.name.sun_path) != 0 && errno != ENOENT)
        return errno;
    /* on Linux the file that bind makes takes the socket's mode: it is never wider than this */
    if (fchmod(server->listen_fd, 0600) != 0 ||
        bind(server->listen_fd, (struct sockaddr *)&server->address.name, server->address.len) != 0)
        return errno;
    server->bound = true;
    if (chmod(server->address.name.sun_path, 0600) != 0 ||
        listen(server->listen_fd, LISTEN_BACKLOG) != 0)
        return errno;
    server->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return server->stop_fd < 0 ? errno : 0;
}

/* Signals are the main thread's. */
static int start_thread(struct tr_control_server *server)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    int error = pthread_create(&server->thread, NULL, serve, server);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    server->running = error == 0;
    return error;
}

enum tr_status tr_control_server_start(const char *state_dir, tr_control_handler handler, void *ctx,
                                       struct tr_control_server **out, struct tr_error *err)
{
    *out = NULL;
    struct tr_control_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the control socket");
    server->handler = handler;
    server->ctx = ctx;
    server->listen_fd = server->stop_fd = server->address.dir_fd = -1;
    for (size_t i = 0; i < TR_CONTROL_CLIENTS_MAX; i++)
        server->clients[i].fd = -1;
    int error = tr_fs_mkdirs(state_dir, 0700);
    if (error == 0)
        error = tr_control_address_open(state_dir, &server->address);
    if (error == 0)
        error = listen_on(server);
    if (error == 0)
        error = start_thread(server);
    if (error != 0) {
        tr_control_server_stop(server);
        (void)tr_fail(err, TR_E_CONTROL_SOCKET, "could not make the control socket %s/%s",
                      state_dir, TR_CONTROL_SOCKET_NAME);
        (void)tr_detail(err, "%s", strerror(error));
        if (error == ENAMETOOLONG)
            return tr_hint(err, "Set TAILRACE_STATE_DIR to a folder with a shorter path.");
        return tr_hint(err,
                       "Set TAILRACE_STATE_DIR to a folder on a local file system that this user "
                       "may write to.");
    }
    *out = server;
    return TR_OK;
}

void tr_control_server_stop(struct tr_control_server *server)
{
    if (server == NULL)
        return;
    if (server->running) {
        uint64_t one = 1;
        ssize_t written = write(server->stop_fd, &one, sizeof one);
        (void)written;
        (void)pthread_join(server->thread, NULL);
    }
    for (size_t i = 0; i < TR_CONTROL_CLIENTS_MAX; i++)
        client_close(&server->clients[i]);
    if (server->bound)
        (void)unlink(server->address.name.sun_path);
    if (server->listen_fd >= 0)
        (void)close(server->listen_fd);
    if (server->stop_fd >= 0)
        (void)close(server->stop_fd);
    tr_control_address_close(&server->address);
    free(server);
}
