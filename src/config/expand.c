/* Expansion of ${...}; see expand.h for the grammar. Reads the environment and files; secrets pass
 * through here, so nothing that was read is ever put into a message, and buffers are wiped. */
#include "config/expand.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct value {
    char *data; /* TR_EXPAND_VALUE_BYTES_MAX */
    size_t len;
};

struct expansion {
    struct tr_pool *pool;
    const char *name;
    const struct tr_node *node;
    struct value out;
};

static enum tr_status fail_at(const struct expansion *x, const char *what, const char *subject,
                              size_t subject_len, const char *hint, struct tr_error *err)
{
    (void)tr_fail(err, TR_E_CONFIG_EXPAND, "%s:%u:%u: %s%s%.*s", x->name, x->node->line,
                  x->node->column, what, subject_len > 0 ? " " : "",
                  (int)(subject_len > 200 ? 200 : subject_len), subject);
    return tr_hint(err, "%s", hint);
}

static enum tr_status append(struct expansion *x, const char *ptr, size_t len, struct tr_error *err)
{
    if (len > TR_EXPAND_VALUE_BYTES_MAX - x->out.len)
        return tr_fail(err, TR_E_CONFIG_LIMIT,
                       "%s:%u:%u: the expanded value is larger than %u bytes", x->name,
                       x->node->line, x->node->column, TR_EXPAND_VALUE_BYTES_MAX);
    if (len > 0)
        memcpy(x->out.data + x->out.len, ptr, len);
    x->out.len += len;
    return TR_OK;
}

static bool name_is_valid(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
        if (!letter && !(i > 0 && c >= '0' && c <= '9'))
            return false;
    }
    return len > 0;
}

static enum tr_status append_variable(struct expansion *x, const char *body, size_t len,
                                      struct tr_error *err)
{
    char name[256];
    const char *fallback = memmem(body, len, ":-", 2);
    size_t name_len = fallback == NULL ? len : (size_t)(fallback - body);
    if (!name_is_valid(body, name_len))
        return fail_at(
            x, "this is not a variable's name:", body, name_len,
            "Expected: ${NAME}, ${NAME:-default}, ${env:NAME} or ${file:/path}; $${ writes "
            "a literal ${, and routes refer to captures as $1.",
            err);
    if (name_len >= sizeof name)
        return fail_at(x, "the variable's name is too long", "", 0, "Use a shorter name.", err);
    memcpy(name, body, name_len);
    name[name_len] = '\0';
    const char *value = getenv(name);
    if (fallback != NULL && (value == NULL || value[0] == '\0'))
        return append(x, fallback + 2, len - name_len - 2, err);
    if (value == NULL)
        return fail_at(x, "environment variable is not set:", name, name_len,
                       "Set it before tailrace starts, or give a default: ${NAME:-default}.", err);
    return append(x, value, strlen(value), err);
}

static enum tr_status read_file(const struct expansion *x, const char *path, char *buf, size_t *len,
                                struct tr_error *err)
{
    struct stat info;
    size_t used = 0;
    ssize_t got = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &info) != 0) {
        int saved = errno;
        if (fd >= 0)
            (void)close(fd);
        (void)fail_at(x, "could not read file", path, strlen(path),
                      "Check the path and that this user may read it.", err);
        return tr_detail(err, "%s", strerror(saved));
    }
    if (!S_ISREG(info.st_mode)) {
        (void)close(fd);
        return fail_at(x, "this is not a regular file:", path, strlen(path),
                       "${file:...} reads regular files only.", err);
    }
    while (used <= TR_EXPAND_FILE_BYTES_MAX) {
        got = read(fd, buf + used, TR_EXPAND_FILE_BYTES_MAX + 1 - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    int saved = errno;
    (void)close(fd);
    if (got < 0) {
        (void)fail_at(x, "could not read file", path, strlen(path), "Check the file system.", err);
        return tr_detail(err, "%s", strerror(saved));
    }
    if (used > TR_EXPAND_FILE_BYTES_MAX)
        return tr_fail(err, TR_E_CONFIG_LIMIT, "%s:%u:%u: file %.200s is larger than %u bytes",
                       x->name, x->node->line, x->node->column, path, TR_EXPAND_FILE_BYTES_MAX);
    *len = used;
    return TR_OK;
}

static enum tr_status append_file(struct expansion *x, const char *body, size_t body_len,
                                  struct tr_error *err)
{
    char path[1024];
    size_t len = 0;
    if (body_len == 0 || body[0] != '/' || body_len >= sizeof path)
        return fail_at(x, "an absolute path is expected after ${file:", "", 0,
                       "Write it as ${file:/run/secrets/password}.", err);
    memcpy(path, body, body_len);
    path[body_len] = '\0';
    char *buf = malloc(TR_EXPAND_FILE_BYTES_MAX + 1);
    if (buf == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the pipeline file");
    enum tr_status status = read_file(x, path, buf, &len, err);
    if (status == TR_OK && memchr(buf, '\0', len) != NULL)
        status = fail_at(x, "the file holds a NUL byte:", path, body_len, "${file:...} takes text.",
                         err);
    if (status == TR_OK) {
        if (len > 0 && buf[len - 1] == '\n')
            len--;
        if (len > 0 && buf[len - 1] == '\r')
            len--;
        status = append(x, buf, len, err);
    }
    explicit_bzero(buf, TR_EXPAND_FILE_BYTES_MAX + 1);
    free(buf);
    return status;
}

static enum tr_status append_reference(struct expansion *x, const char *body, size_t len,
                                       struct tr_error *err)
{
    if (len >= 4 && memcmp(body, "env:", 4) == 0)
        return append_variable(x, body + 4, len - 4, err);
    if (len >= 5 && memcmp(body, "file:", 5) == 0)
        return append_file(x, body + 5, len - 5, err);
    return append_variable(x, body, len, err);
}

static enum tr_status expand_scalar(struct expansion *x, struct tr_node *node, struct tr_error *err)
{
    const char *at = node->text;
    bool outside = false;
    if (strstr(at, "${") == NULL)
        return TR_OK;
    x->node = node;
    x->out.len = 0;
    while (*at != '\0') {
        const char *dollar = strstr(at, "${");
        if (dollar == NULL) {
            if (append(x, at, strlen(at), err) != TR_OK)
                return TR_FAIL;
            break;
        }
        bool escaped = dollar > at && dollar[-1] == '$';
        if (append(x, at, (size_t)(dollar - at) - (escaped ? 1 : 0), err) != TR_OK)
            return TR_FAIL;
        if (escaped) {
            if (append(x, "${", 2, err) != TR_OK)
                return TR_FAIL;
            at = dollar + 2;
            continue;
        }
        const char *end = strchr(dollar, '}');
        if (end == NULL)
            return fail_at(x, "${ without its }", "", 0, "Close it, or write $${ for a literal ${.",
                           err);
        if (append_reference(x, dollar + 2, (size_t)(end - dollar) - 2, err) != TR_OK)
            return TR_FAIL;
        outside = true;
        at = end + 1;
    }
    char *text = tr_pool_strndup(x->pool, x->out.data, x->out.len);
    if (text == NULL)
        return tr_fail(err, TR_E_CONFIG_LIMIT,
                       "%s:%u:%u: the expanded values are too large together", x->name, node->line,
                       node->column);
    node->text = text;
    node->expanded = outside;
    return TR_OK;
}

/* Recursion is bounded by TR_TREE_DEPTH_MAX. */
static enum tr_status expand_node(struct expansion *x, struct tr_node *node, struct tr_error *err)
{
    if (node->kind == TR_NODE_SCALAR)
        return node->text == NULL ? TR_OK : expand_scalar(x, node, err);
    for (struct tr_node *child = node->first; child != NULL; child = child->next)
        if (expand_node(x, child, err) != TR_OK)
            return TR_FAIL;
    return TR_OK;
}

enum tr_status tr_expand_tree(struct tr_pool *pool, struct tr_node *root, const char *name,
                              struct tr_error *err)
{
    struct expansion x = {.pool = pool, .name = name};
    x.out.data = malloc(TR_EXPAND_VALUE_BYTES_MAX);
    if (x.out.data == NULL)
        return tr_fail(err, TR_E_OUT_OF_MEMORY, "no memory for the pipeline file");
    enum tr_status status = expand_node(&x, root, err);
    explicit_bzero(x.out.data, TR_EXPAND_VALUE_BYTES_MAX);
    free(x.out.data);
    return status;
}
