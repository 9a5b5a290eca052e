/* The control socket: how `tailrace status` and `stop` reach the process of `tailrace run`.
 *
 * <state_dir>/control.sock, a Unix stream socket with mode 0600. A request is one JSON object on
 * one line, the answer is one JSON object on one line; a connection may carry several, one after
 * another.
 *   {"command":"status"}   also stop, metrics, pause, resume, savepoint (with their own members)
 *   {"ok":true, …}         or {"ok":false,"error":{"code":"USAGE","message":"…"}}
 * What commands there are is the handler's business. */
#ifndef TR_CONTROL_CONTROL_H
#define TR_CONTROL_CONTROL_H

#include <jansson.h>

#include "tailrace/error.h"

#define TR_CONTROL_SOCKET_NAME "control.sock"
#define TR_CONTROL_REQUEST_BYTES_MAX 65536u
#define TR_CONTROL_ANSWER_BYTES_MAX (16u << 20)
#define TR_CONTROL_CLIENTS_MAX 16u
#define TR_CONTROL_CLIENT_IDLE_MS 10000 /* a silent client is closed after this */

struct tr_control_server;

/* Runs on the server's thread, one call at a time, and must not block for long: `stop` only asks
 * for the stop. request is an object with a string member "command". Returns a new reference; NULL
 * is answered as an internal error. */
typedef json_t *(*tr_control_handler)(void *ctx, const char *command, const json_t *request);

/* Listens and starts the thread. The caller holds the state folder's lock (the checkpoint store
 * does), so a socket that is there already is a dead process's and is replaced. */
enum tr_status tr_control_server_start(const char *state_dir, tr_control_handler handler, void *ctx,
                                       struct tr_control_server **server, struct tr_error *err);
/* Answers in flight are sent for a short time; the thread has ended and the socket's file is gone
 * when it returns. NULL is fine. */
void tr_control_server_stop(struct tr_control_server *server);

/* {"ok":true}; the caller adds members. NULL when memory is out, as the two below. */
json_t *tr_control_ok(void);
json_t *tr_control_refuse(enum tr_code code, const char *message);
/* The same from a filled error, with class, detail and hint. */
json_t *tr_control_refuse_error(const struct tr_error *err);

/* Sends one request line (without its newline) and waits for the answer: *answer is malloc'ed,
 * without its newline. NOT_RUNNING: nobody listens. */
enum tr_status tr_control_call(const char *state_dir, const char *request, int timeout_ms,
                               char **answer, struct tr_error *err);

#endif
