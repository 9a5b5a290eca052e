/* The control socket: requests and answers, hostile clients, long paths, stale sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "control/control.h"
#include "temp_folder.h"

#define TIMEOUT_MS 5000
#define CALLERS 8
#define CALLS_EACH 50

static struct temp_folder folder;
static struct tr_control_server *server;
static struct tr_error err;
static _Atomic int handled;

static json_t *handle(void *ctx, const char *command, const json_t *request)
{
    (void)ctx;
    atomic_fetch_add(&handled, 1);
    if (strcmp(command, "status") == 0) {
        json_t *answer = tr_control_ok();
        (void)json_object_set_new(answer, "lag", json_integer(7));
        return answer;
    }
    if (strcmp(command, "echo") == 0) {
        json_t *answer = tr_control_ok();
        (void)json_object_set(answer, "text", json_object_get(request, "text"));
        return answer;
    }
    if (strcmp(command, "large") == 0) {
        char *text = malloc(3000001);
        if (text == NULL)
            return NULL;
        memset(text, 'x', 3000000);
        text[3000000] = '\0';
        json_t *answer = json_pack("{s:b, s:s}", "ok", 1, "text", text);
        free(text);
        return answer;
    }
    if (strcmp(command, "slow") == 0) {
        tr_clock_sleep_ms(300);
        return tr_control_ok();
    }
    if (strcmp(command, "null") == 0)
        return NULL;
    if (strcmp(command, "fail") == 0) {
        struct tr_error failure;
        (void)tr_fail(&failure, TR_E_CHECKPOINT_DISK_FULL, "no room \xc3");
        (void)tr_hint(&failure, "make room");
        return tr_control_refuse_error(&failure);
    }
    return tr_control_refuse(TR_E_USAGE, "there is no such command");
}

static void start(const char *state_dir)
{
    if (tr_control_server_start(state_dir, handle, NULL, &server, &err) != TR_OK)
        fail_msg("start: %s %s", err.message, err.detail);
}

static int setup(void **state)
{
    (void)state;
    temp_folder_make(&folder);
    server = NULL;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tr_control_server_stop(server);
    temp_folder_remove(&folder);
    return 0;
}

static json_t *call(const char *state_dir, const char *request)
{
    char *text = NULL;
    if (tr_control_call(state_dir, request, TIMEOUT_MS, &text, &err) != TR_OK)
        fail_msg("call: %s %s", err.message, err.detail);
    json_t *answer = json_loads(text, 0, NULL);
    assert_non_null(answer);
    free(text);
    return answer;
}

static void expect_code(const char *request, const char *code)
{
    json_t *answer = call(folder.path, request);
    assert_true(json_is_false(json_object_get(answer, "ok")));
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(answer, "error"), "code")), code);
    json_decref(answer);
}

static void answers(void **state)
{
    (void)state;
    start(folder.path);
    json_t *answer = call(folder.path, "{\"command\":\"status\"}");
    assert_true(json_is_true(json_object_get(answer, "ok")));
    assert_int_equal(json_integer_value(json_object_get(answer, "lag")), 7);
    json_decref(answer);
    answer = call(folder.path, "{\"command\":\"echo\",\"text\":\"a\\nb \\u00e9\"}");
    assert_string_equal(json_string_value(json_object_get(answer, "text")), "a\nb \xc3\xa9");
    json_decref(answer);
    answer = call(folder.path, "{\"command\":\"large\"}");
    assert_int_equal(json_string_length(json_object_get(answer, "text")), 3000000);
    json_decref(answer);
    expect_code("{\"command\":\"dance\"}", "USAGE");
    expect_code("{\"command\":\"null\"}", "INTERNAL");
    expect_code("{\"command\":\"fail\"}", "CHECKPOINT_DISK_FULL");
    struct stat info;
    assert_int_equal(stat(temp_folder_file(&folder, "control.sock"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

static void refuses_what_is_not_a_request(void **state)
{
    (void)state;
    start(folder.path);
    int before = atomic_load(&handled);
    expect_code("status", "CONTROL_PROTOCOL");
    expect_code("", "CONTROL_PROTOCOL");
    expect_code("[1]", "CONTROL_PROTOCOL");
    expect_code("{\"command\":1}", "CONTROL_PROTOCOL");
    expect_code("{\"command\":\"status\",\"command\":\"stop\"}", "CONTROL_PROTOCOL");
    assert_int_equal(atomic_load(&handled), before);
    char *text;
    assert_int_equal(tr_control_call(folder.path, "{}\n{}", TIMEOUT_MS, &text, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_CONTROL_PROTOCOL);
}

static void nobody_there(void **state)
{
    (void)state;
    char *text;
    assert_int_equal(tr_control_call(folder.path, "{}", TIMEOUT_MS, &text, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_NOT_RUNNING);
    assert_null(text);
    start(folder.path);
    tr_control_server_stop(server);
    server = NULL;
    assert_false(file_exists(temp_folder_file(&folder, "control.sock")));
    assert_int_equal(tr_control_call(folder.path, "{}", TIMEOUT_MS, &text, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_NOT_RUNNING);
    assert_non_null(strstr(err.hint, "tailrace run"));
}

static int die_with_a_socket(void *ctx)
{
    (void)ctx;
    struct tr_control_server *child = NULL;
    struct tr_error error;
    if (tr_control_server_start(folder.path, handle, NULL, &child, &error) != TR_OK)
        return 1;
    _exit(0); /* no stop: the file stays */
}

static void stale_socket_is_replaced(void **state)
{
    (void)state;
    assert_int_equal(in_child(NULL, die_with_a_socket, NULL), 0);
    assert_true(file_exists(temp_folder_file(&folder, "control.sock")));
    char *text;
    assert_int_equal(tr_control_call(folder.path, "{}", TIMEOUT_MS, &text, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_NOT_RUNNING);
    start(folder.path);
    json_decref(call(folder.path, "{\"command\":\"status\"}"));
}

static void long_path(void **state)
{
    (void)state;
    char deep[1024];
    int len = snprintf(deep, sizeof deep, "%s", folder.path);
    for (int i = 0; i < 8; i++)
        len += snprintf(deep + len, sizeof deep - (size_t)len, "/a-folder-with-a-long-name-%d", i);
    assert_true(len > 200);
    start(deep);
    json_decref(call(deep, "{\"command\":\"status\"}"));
    tr_control_server_stop(server);
    server = NULL;
    char *text;
    assert_int_equal(tr_control_call(deep, "{}", TIMEOUT_MS, &text, &err), TR_FAIL);
    assert_int_equal(err.code, TR_E_NOT_RUNNING);
}

static void slow_answer_times_out(void **state)
{
    (void)state;
    start(folder.path);
    char *text;
    int64_t before_ms = tr_clock_mono_ms();
    assert_int_equal(tr_control_call(folder.path, "{\"command\":\"slow\"}", 50, &text, &err),
                     TR_FAIL);
    assert_int_equal(err.code, TR_E_CONTROL_TIMEOUT);
    assert_true(tr_clock_mono_ms() - before_ms < 250);
    json_decref(call(folder.path, "{\"command\":\"status\"}"));
}

static int raw_connect(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    const char *path = temp_folder_file(&folder, "control.sock");
    assert_true(strlen(path) < sizeof name.sun_path);
    memcpy(name.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof name), 0);
    return fd;
}

/* Several requests in one write; requests byte by byte; a client that sends without end; more
 * clients than there are places. The server goes on answering. */
static void hostile_clients(void **state)
{
    (void)state;
    static const char two[] = "{\"command\":\"status\"}\n{\"command\":\"status\"}\n";
    char buf[4096];
    start(folder.path);
    int fd = raw_connect();
    for (size_t i = 0; i < sizeof two - 1; i++)
        assert_int_equal(send(fd, two + i, 1, MSG_NOSIGNAL), 1);
    size_t lines = 0;
    while (lines < 2) {
        ssize_t n = recv(fd, buf, sizeof buf, 0);
        assert_true(n > 0);
        for (ssize_t i = 0; i < n; i++)
            lines += buf[i] == '\n';
    }
    (void)close(fd);

    fd = raw_connect();
    memset(buf, 'x', sizeof buf);
    size_t sent = 0;
    while (sent < 4 * TR_CONTROL_REQUEST_BYTES_MAX) {
        ssize_t n = send(fd, buf, sizeof buf, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    assert_true(sent < 4 * TR_CONTROL_REQUEST_BYTES_MAX); /* it was hung up on */
    (void)close(fd);

    int idle[TR_CONTROL_CLIENTS_MAX - 1];
    for (size_t i = 0; i < TR_CONTROL_CLIENTS_MAX - 1; i++)
        idle[i] = raw_connect();
    json_decref(call(folder.path, "{\"command\":\"status\"}"));
    int last = raw_connect();
    char *text;
    /* no place is left: this one is closed, not kept waiting */
    tr_clock_sleep_ms(50);
    assert_int_equal(
        tr_control_call(folder.path, "{\"command\":\"status\"}", TIMEOUT_MS, &text, &err), TR_FAIL);
    (void)close(last);
    tr_clock_sleep_ms(50);
    json_decref(call(folder.path, "{\"command\":\"status\"}"));
    for (size_t i = 0; i < TR_CONTROL_CLIENTS_MAX - 1; i++)
        (void)close(idle[i]);
}

/* A client that asks for much and reads nothing does not stop the others, nor the end. */
static void client_that_does_not_read(void **state)
{
    (void)state;
    static const char request[] = "{\"command\":\"large\"}\n";
    start(folder.path);
    int fd = raw_connect();
    assert_true(send(fd, request, sizeof request - 1, MSG_NOSIGNAL) > 0);
    json_decref(call(folder.path, "{\"command\":\"status\"}"));
    int64_t before_ms = tr_clock_mono_ms();
    tr_control_server_stop(server);
    server = NULL;
    assert_true(tr_clock_mono_ms() - before_ms < 3000);
    (void)close(fd);
}

static void *caller(void *arg)
{
    char request[64], expected[64], *text;
    struct tr_error error;
    int *failures = arg;
    for (int i = 0; i < CALLS_EACH; i++) {
        (void)snprintf(request, sizeof request, "{\"command\":\"echo\",\"text\":\"%d-%p\"}", i,
                       arg);
        (void)snprintf(expected, sizeof expected, "%d-%p", i, arg);
        if (tr_control_call(folder.path, request, TIMEOUT_MS, &text, &error) != TR_OK) {
            (*failures)++;
            continue;
        }
        if (strstr(text, expected) == NULL)
            (*failures)++;
        free(text);
    }
    return NULL;
}

static void many_callers(void **state)
{
    (void)state;
    pthread_t threads[CALLERS];
    int failures[CALLERS] = {0};
    start(folder.path);
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, caller, &failures[i]), 0);
    for (int i = 0; i < CALLERS; i++) {
        (void)pthread_join(threads[i], NULL);
        assert_int_equal(failures[i], 0);
    }
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(answers),         TEST(refuses_what_is_not_a_request),
        TEST(nobody_there),    TEST(stale_socket_is_replaced),
        TEST(long_path),       TEST(slow_answer_times_out),
        TEST(hostile_clients), TEST(client_that_does_not_read),
        TEST(many_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
