/* The map of marks against a naive model (an unsorted list): any sequence of sets, deletes and
 * deletes by prefix leaves the same contents, in order. The seed is printed; TAILRACE_TEST_SEED
 * repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event/state.h"

#define ROUNDS 300
#define STEPS 400
#define MODEL_MAX 512

static struct {
    char key[16], value[8];
    bool used;
} model[MODEL_MAX];

static void model_apply(const char *key, const char *value)
{
    size_t len = strlen(key);
    bool prefix = key[len - 1] == '*';
    int found = -1, unused = -1;
    for (int i = 0; i < MODEL_MAX; i++) {
        if (!model[i].used) {
            unused = i;
            continue;
        }
        if (prefix && strncmp(model[i].key, key, len - 1) == 0)
            model[i].used = false;
        else if (!prefix && strcmp(model[i].key, key) == 0)
            found = i;
    }
    if (prefix)
        return;
    if (value[0] == '\0') {
        if (found >= 0)
            model[found].used = false;
        return;
    }
    int at = found >= 0 ? found : unused;
    assert_true(at >= 0);
    (void)snprintf(model[at].key, sizeof model[at].key, "%s", key);
    (void)snprintf(model[at].value, sizeof model[at].value, "%s", value);
    model[at].used = true;
}

static void compare(const struct tr_state *marks)
{
    size_t count = 0;
    for (int i = 0; i < MODEL_MAX; i++) {
        if (!model[i].used)
            continue;
        count++;
        const char *value = tr_state_get(marks, model[i].key);
        if (value == NULL || strcmp(value, model[i].value) != 0)
            fail_msg("key %s: %s instead of %s", model[i].key, value == NULL ? "nothing" : value,
                     model[i].value);
    }
    assert_int_equal(marks->count, count);
    for (size_t i = 1; i < marks->count; i++)
        assert_true(strcmp(marks->items[i - 1].key, marks->items[i].key) < 0);
}

/* The range that seek and has_prefix give is the model's set of keys with that prefix. */
static void compare_prefix(const struct tr_state *marks, const char *prefix)
{
    size_t expected = 0, given = 0;
    for (int i = 0; i < MODEL_MAX; i++)
        expected += model[i].used && strncmp(model[i].key, prefix, strlen(prefix)) == 0;
    for (size_t at = tr_state_seek(marks, prefix); tr_state_has_prefix(marks, at, prefix); at++)
        given++;
    assert_int_equal(given, expected);
}

static void random_key(char *key, bool may_star)
{
    /* few letters: keys that are prefixes of each other are common. The last is the highest
     * allowed. */
    int len = (int)(random() % 5) + 1;
    for (int i = 0; i < len; i++)
        key[i] = "ab/*~!"[random() % 6];
    if (key[len - 1] == '*' && !may_star)
        key[len - 1] = 'a';
    key[len] = '\0';
}

static void equals_the_model(void **state)
{
    (void)state;
    const char *given = getenv("TAILRACE_TEST_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : 20250131u;
    printf("seed %u\n", seed);
    srandom(seed);
    struct tr_error err;
    for (int round = 0; round < ROUNDS; round++) {
        struct tr_state marks;
        tr_state_init(&marks);
        memset(model, 0, sizeof model);
        for (int step = 0; step < STEPS; step++) {
            char key[16], value[8] = "";
            random_key(key, random() % 8 == 0);
            if (random() % 4 != 0)
                (void)snprintf(value, sizeof value, "%ld", random() % 1000);
            if (marks.count > MODEL_MAX - 2)
                (void)snprintf(key, sizeof key, "*");
            assert_int_equal(tr_state_set(&marks, key, value, &err), TR_OK);
            model_apply(key, value);
            if (step % 16 == 0) {
                char prefix[16];
                compare(&marks);
                random_key(prefix, true);
                compare_prefix(&marks, prefix);
                compare_prefix(&marks, "");
            }
        }
        compare(&marks);
        struct tr_state copy;
        tr_state_init(&copy);
        assert_int_equal(tr_state_copy(&copy, &marks, &err), TR_OK);
        compare(&copy);
        tr_state_free(&copy);
        tr_state_free(&marks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(equals_the_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
