/* Last write wins as a map from key to (version, row or deletion), and a stream of random changes for
 * it: what the sinks' tests compare with. Versions come from short ascending lists in which
 * neighbours may be equal, so that every case of older, equal and newer is frequent. */
#ifndef TEST_NEWEST_MODEL_H
#define TEST_NEWEST_MODEL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tailrace/event.h"

#define NEWEST_KEYS 7
#define NEWEST_VERSIONS 9

struct newest_flavour {
    enum tr_type type;
    const char *name;                      /* as PostgreSQL names it */
    const char *texts[NEWEST_VERSIONS];    /* ascending; "=x" equals the one before it */
};
static const struct newest_flavour newest_flavours[] = {
    {TR_T_INT64, "int8", {"-7", "0", "5", "9", "10", "11", "100", "2000", "10000"}},
    {TR_T_DECIMAL,
     "numeric",
     {"-3.5", "0", "9", "=9.0", "=9.00", "10.001", "10.01", "123456789012345678901234567890", "NaN"}},
    {TR_T_TIMESTAMP,
     "timestamp",
     {"-infinity", "0044-03-15 00:00:00 BC", "1999-12-31 23:59:59", "2024-01-01 00:00:00",
      "2024-01-01 00:00:00.5", "2024-01-01 00:00:01", "2024-10-01 00:00:00", "12024-01-01 00:00:00",
      "infinity"}},
    {TR_T_TIMESTAMPTZ,
     "timestamptz",
     {"2023-12-31 23:59:59.999999+00", "2024-01-01 00:00:00+00", "2024-01-01 00:00:00.1+00",
      "2024-01-01 00:00:00.12+00", "2024-01-01 09:00:00+00", "2024-01-01 10:00:00+00",
      "2024-02-01 00:00:00+00", "2025-01-01 00:00:00+00", "infinity"}},
    {TR_T_STRING, "text", {"", "10", "9", "A", "B", "a", "aa", "b", "\xc3\xa4"}},
};
#define NEWEST_FLAVOURS (sizeof newest_flavours / sizeof *newest_flavours)

enum newest_state { NEWEST_NOTHING, NEWEST_ROW, NEWEST_DELETED };
struct newest_key {
    enum newest_state state;
    int version; /* index into texts, -1 NULL */
    int a, b;
};
struct newest_model {
    struct newest_key keys[NEWEST_KEYS];
};
struct newest_change {
    enum tr_op op;
    bool key_changed;
    int id, old_id; /* old_id: with key_changed */
    int version, a, b;
    bool b_unchanged; /* the value was not sent */
};

static unsigned long long newest_random_state;
static unsigned newest_below(unsigned n)
{
    newest_random_state = newest_random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(newest_random_state >> 33) % n;
}

static int newest_rank(const struct newest_flavour *flavour, int version)
{
    int rank = version;
    while (rank > 0 && flavour->texts[rank][0] == '=')
        rank--;
    return rank;
}

static const char *newest_text(const struct newest_flavour *flavour, int version)
{
    if (version < 0)
        return NULL;
    return flavour->texts[version] + (flavour->texts[version][0] == '=');
}

static bool newest_wins(const struct newest_flavour *flavour, const struct newest_key *key,
                        int version)
{
    return key->state == NEWEST_NOTHING ||
           newest_rank(flavour, version) >= newest_rank(flavour, key->version);
}

static void newest_delete(const struct newest_flavour *flavour, struct newest_key *key, int version)
{
    if (newest_wins(flavour, key, version))
        *key = (struct newest_key){version < 0 ? NEWEST_NOTHING : NEWEST_DELETED, version, 0, 0};
}

static void newest_put(const struct newest_flavour *flavour, struct newest_key *key,
                       const struct newest_change *change)
{
    if (!newest_wins(flavour, key, change->version) ||
        (change->b_unchanged && key->state != NEWEST_ROW))
        return;
    *key = (struct newest_key){NEWEST_ROW, change->version, change->a,
                               change->b_unchanged ? key->b : change->b};
}

static void newest_apply(const struct newest_flavour *flavour, struct newest_model *model,
                         const struct newest_change *change)
{
    struct newest_key *key = &model->keys[change->id], *old = &model->keys[change->old_id];
    if (change->op == TR_OP_DELETE) {
        newest_delete(flavour, key, change->version);
        return;
    }
    if (!change->key_changed) {
        newest_put(flavour, key, change);
        return;
    }
    struct newest_change whole = *change;
    if (change->b_unchanged && old->state == NEWEST_ROW &&
        newest_wins(flavour, old, change->version) && newest_wins(flavour, key, change->version)) {
        whole.b = old->b; /* the row moves with what was not sent */
        whole.b_unchanged = false;
    }
    newest_delete(flavour, old, change->version);
    newest_put(flavour, key, &whole);
}

static struct newest_change newest_some_change(void)
{
    struct newest_change change = {.id = (int)newest_below(NEWEST_KEYS),
                                   .version = (int)newest_below(NEWEST_VERSIONS + 1) - 1,
                                   .a = (int)newest_below(1000),
                                   .b = (int)newest_below(1000)};
    static const enum tr_op ops[] = {TR_OP_CREATE, TR_OP_READ, TR_OP_UPDATE, TR_OP_UPDATE,
                                     TR_OP_UPDATE, TR_OP_DELETE, TR_OP_DELETE};
    change.op = ops[newest_below(7)];
    change.b_unchanged = change.op == TR_OP_UPDATE && newest_below(4) == 0;
    change.old_id = change.id;
    if (change.op == TR_OP_UPDATE && newest_below(5) == 0) {
        change.old_id = (int)newest_below(NEWEST_KEYS);
        change.key_changed = change.old_id != change.id;
    }
    return change;
}

/* "id|version|a|b" lines in the order of the keys, NULL as ~. */
static void newest_rows(const struct newest_flavour *flavour, const struct newest_model *model,
                        const char *null, char *buf, size_t size)
{
    size_t len = 0;
    buf[0] = '\0';
    for (int i = 0; i < NEWEST_KEYS; i++) {
        const struct newest_key *key = &model->keys[i];
        const char *version = newest_text(flavour, key->version);
        if (key->state == NEWEST_ROW)
            len += (size_t)snprintf(buf + len, size - len, "%d|%s|%d|%d\n", i,
                                    version == NULL ? null : version, key->a, key->b);
    }
}

static void newest_deletions(const struct newest_model *model, char *buf, size_t size)
{
    size_t len = 0;
    buf[0] = '\0';
    for (int i = 0; i < NEWEST_KEYS; i++) {
        if (model->keys[i].state == NEWEST_DELETED)
            len += (size_t)snprintf(buf + len, size - len, "[\"%d\"]\n", i);
    }
}

#endif
