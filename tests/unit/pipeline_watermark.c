/* The watermark: the smallest of the splits, delay, idle and gone splits, what a restart brings back,
 * decisions that are made once, marks. And what the stage makes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/watermark.h"

#define MARKS_MAX 64
#define SECOND INT64_C(1000000)

static struct tr_batch *batch;
static struct tr_error err;

static int setup(void **unused)
{
    (void)unused;
    return tr_batch_new(&batch, &err) == TR_OK ? 0 : -1;
}
static int teardown(void **unused)
{
    (void)unused;
    tr_batch_free(batch);
    return 0;
}

static void know(struct tr_watermark *w, uint32_t index, const char *name)
{
    assert_int_equal(tr_watermark_split(w, index, name, 0, &err), TR_OK);
}
/* Position is the event's own; the next is one more. */
static bool late_at(struct tr_watermark *w, uint32_t index, int64_t position, int64_t time_us,
                    int64_t now_us)
{
    bool late;
    assert_int_equal(
        tr_watermark_event(w, index, position, position + 1, time_us, now_us, &late, &err), TR_OK);
    return late;
}
static bool is_late(struct tr_watermark *w, uint32_t index, int64_t position, int64_t time_us)
{
    return late_at(w, index, position, time_us, 0);
}

/* The marks of one COMMIT into a state, as a sink stores them. */
static uint32_t store(struct tr_watermark *w, struct tr_state *state)
{
    struct tr_mark marks[MARKS_MAX];
    uint32_t count;
    assert_true(tr_watermark_marks_max(w) <= MARKS_MAX);
    assert_int_equal(tr_watermark_marks(w, batch, marks, MARKS_MAX, &count, &err), TR_OK);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(tr_state_apply(state, marks[i].key, marks[i].value, &err), TR_OK);
    return count;
}

static void the_slowest_split_decides(void **unused)
{
    (void)unused;
    struct tr_watermark w;
    tr_watermark_init(&w, 5 * SECOND, 0);
    know(&w, 0, "t/0");
    know(&w, 2, "t/2"); /* with a gap: index 1 is not this process's */
    assert_false(is_late(&w, 0, 0, 100 * SECOND));
    assert_true(w.watermark_us == TR_TIME_NONE); /* the other has brought nothing */
    assert_false(is_late(&w, 0, 1, 1 * SECOND)); /* nothing is late yet */
    assert_false(is_late(&w, 2, 0, 50 * SECOND));
    assert_int_equal(w.watermark_us, 45 * SECOND);
    assert_false(is_late(&w, 0, 2, 200 * SECOND)); /* the faster one moves nothing */
    assert_int_equal(w.watermark_us, 45 * SECOND);
    assert_false(is_late(&w, 0, 3, 45 * SECOND)); /* at the watermark: on time */
    assert_true(is_late(&w, 0, 4, 45 * SECOND - 1));
    assert_false(is_late(&w, 2, 1, 300 * SECOND));
    assert_int_equal(w.watermark_us, 195 * SECOND);
    assert_false(is_late(&w, 2, 2, 250 * SECOND)); /* older than the newest: it does not fall */
    assert_int_equal(w.watermark_us, 195 * SECOND);
    assert_true(is_late(&w, 2, 3, 1 * SECOND));
    assert_int_equal(w.splits[2].newest_us, 300 * SECOND);
    /* a new split waits for nobody, and is not waited with below the watermark */
    know(&w, 3, "t/3");
    assert_false(is_late(&w, 0, 5, 400 * SECOND));
    assert_int_equal(w.watermark_us, 195 * SECOND);
    assert_true(is_late(&w, 3, 0, 100 * SECOND));
    assert_false(is_late(&w, 3, 1, 350 * SECOND));
    assert_int_equal(w.watermark_us, 295 * SECOND);
    tr_watermark_free(&w);
}

static void times_before_1970(void **unused)
{
    (void)unused;
    struct tr_watermark w;
    tr_watermark_init(&w, SECOND, 0);
    know(&w, 0, "t/0");
    assert_false(is_late(&w, 0, 0, -100 * SECOND));
    assert_int_equal(w.watermark_us, -101 * SECOND);
    assert_true(is_late(&w, 0, 1, -102 * SECOND));
    assert_false(is_late(&w, 0, 2, SECOND));
    assert_int_equal(w.watermark_us, 0);
    assert_true(is_late(&w, 0, 3, -1));
    tr_watermark_free(&w);
}

static void idle_splits_hold_nothing(void **unused)
{
    (void)unused;
    struct tr_watermark w;
    tr_watermark_init(&w, 0, 10 * SECOND);
    know(&w, 0, "t/0");
    know(&w, 1, "t/1");
    assert_false(late_at(&w, 0, 0, 100 * SECOND, 1 * SECOND));
    tr_watermark_tick(&w, 9 * SECOND);
    assert_true(w.watermark_us == TR_TIME_NONE);
    assert_false(late_at(&w, 0, 1, 101 * SECOND, 9 * SECOND));
    tr_watermark_tick(&w, 10 * SECOND); /* t/1 was never heard of since 0 */
    assert_int_equal(w.watermark_us, 101 * SECOND);
    assert_true(late_at(&w, 1, 0, 50 * SECOND, 11 * SECOND)); /* it comes back too late */
    assert_false(late_at(&w, 0, 2, 200 * SECOND, 12 * SECOND));
    assert_int_equal(w.watermark_us, 101 * SECOND); /* heard, also if late: holds again */
    assert_false(late_at(&w, 1, 1, 150 * SECOND, 13 * SECOND));
    assert_int_equal(w.watermark_us, 150 * SECOND);
    tr_watermark_tick(&w, 60 * SECOND); /* all are idle: nobody is ahead of anybody */
    assert_int_equal(w.watermark_us, 150 * SECOND);
    tr_watermark_free(&w);
    /* 0: never idle */
    tr_watermark_init(&w, 0, 0);
    know(&w, 0, "t/0");
    know(&w, 1, "t/1");
    assert_false(late_at(&w, 0, 0, 100 * SECOND, 1));
    tr_watermark_tick(&w, INT64_MAX / 2);
    assert_true(w.watermark_us == TR_TIME_NONE);
    tr_watermark_free(&w);
}

static void gone_splits_hold_nothing(void **unused)
{
    (void)unused;
    struct tr_watermark w;
    tr_watermark_init(&w, 0, 10 * SECOND);
    know(&w, 0, "t/0");
    know(&w, 1, "t/1");
    assert_false(is_late(&w, 0, 0, 100 * SECOND));
    tr_watermark_split_gone(&w, 1);
    tr_watermark_split_gone(&w, 1);
    tr_watermark_split_gone(&w, 99); /* never known */
    tr_watermark_tick(&w, 0);
    assert_int_equal(w.watermark_us, 100 * SECOND);
    /* back, it is waited for again, as one that was just heard of */
    assert_int_equal(tr_watermark_split(&w, 1, "t/1", 100 * SECOND, &err), TR_OK);
    assert_false(late_at(&w, 0, 1, 200 * SECOND, 105 * SECOND));
    assert_int_equal(w.watermark_us, 100 * SECOND);
    tr_watermark_tick(&w, 110 * SECOND);
    assert_int_equal(w.watermark_us, 200 * SECOND);
    tr_watermark_free(&w);
}

static void marks_only_when_changed(void **unused)
{
    (void)unused;
    struct tr_watermark w;
    struct tr_state state;
    tr_state_init(&state);
    tr_watermark_init(&w, 0, 0);
    w.tracks_late = true;
    know(&w, 0, "t/0");
    know(&w, 1, "t/1");
    assert_int_equal(store(&w, &state), 0);
    assert_false(is_late(&w, 0, 0, 5));
    assert_int_equal(store(&w, &state), 1);
    assert_string_equal(tr_state_get(&state, "newest/t/0"), "5");
    assert_int_equal(store(&w, &state), 0);
    assert_false(is_late(&w, 1, 7, 9));
    assert_int_equal(store(&w, &state), 2);
    assert_string_equal(tr_state_get(&state, "watermark"), "5");
    assert_true(is_late(&w, 1, 8, 4));
    assert_true(is_late(&w, 1, 9, 3));
    assert_true(is_late(&w, 1, 11, 2));
    assert_int_equal(store(&w, &state), 1);
    assert_string_equal(tr_state_get(&state, "late/t/1"), "8-9,11");
    assert_int_equal(store(&w, &state), 0);
    tr_watermark_acked(&w, "t/1", 8);
    assert_int_equal(store(&w, &state), 0);
    tr_watermark_acked(&w, "t/1", 9);
    tr_watermark_acked(&w, "unknown", 9);
    assert_int_equal(store(&w, &state), 1);
    assert_string_equal(tr_state_get(&state, "late/t/1"), "9,11");
    tr_watermark_acked(&w, "t/1", 12);
    assert_int_equal(store(&w, &state), 1);
    assert_null(tr_state_get(&state, "late/t/1")); /* an empty value deletes it */
    /* with one sink nobody has to remember; with several processes the watermark is nobody's */
    w.tracks_late = false;
    w.is_shared = true;
    assert_true(is_late(&w, 1, 12, 2));
    assert_false(is_late(&w, 0, 1, 8));
    assert_int_equal(store(&w, &state), 1);
    assert_string_equal(tr_state_get(&state, "newest/t/0"), "8");
    struct tr_mark marks[1];
    uint32_t count;
    assert_int_equal(tr_watermark_marks(&w, batch, marks, 1, &count, &err), TR_FAIL);
    tr_watermark_free(&w);
    tr_state_free(&state);
}

/* at/t/0=3 for the sink that is behind, 8 for the one ahead; 4 and 6 were late. */
static void restore(struct tr_watermark *w)
{
    static const char *const marks[][2] = {{"watermark", "1000"},    {"newest/t/0", "800"},
                                           {"newest/t/1", "900"},    {"late/t/0", "4,6"},
                                           {"at/t/0", "3"},          {"covered/t/0", "8"},
                                           {"at/t/1", "20"},         {"covered/t/1", "20"}};
    struct tr_state state;
    tr_state_init(&state);
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        assert_int_equal(tr_state_set(&state, marks[i][0], marks[i][1], &err), TR_OK);
    tr_watermark_init(w, 0, 0);
    w->tracks_late = true;
    assert_int_equal(tr_watermark_restore(w, &state, &err), TR_OK);
    tr_state_free(&state);
    know(w, 0, "t/0");
    know(w, 1, "t/1");
}

static void what_was_decided_is_decided(void **unused)
{
    (void)unused;
    struct tr_watermark w;
    restore(&w);
    assert_int_equal(w.watermark_us, 1000);
    assert_int_equal(w.splits[0].newest_us, 800);
    assert_true(tr_watermark_replays(&w));
    assert_false(is_late(&w, 0, 3, 1)); /* far below the watermark, and was on time */
    assert_true(is_late(&w, 0, 4, 5000)); /* far above it, and was late */
    assert_int_equal(w.splits[0].newest_us, 800);
    assert_true(is_late(&w, 1, 20, 999)); /* of the other split this is new */
    assert_false(is_late(&w, 1, 21, 1000));
    assert_false(is_late(&w, 0, 5, 2));
    assert_true(is_late(&w, 0, 6, 2));
    assert_true(tr_watermark_replays(&w));
    assert_false(is_late(&w, 0, 7, 3));
    assert_false(tr_watermark_replays(&w));
    assert_true(is_late(&w, 0, 8, 999)); /* from here on the watermark decides */
    assert_false(is_late(&w, 0, 9, 1000));
    struct tr_state state;
    tr_state_init(&state);
    (void)store(&w, &state);
    assert_string_equal(tr_state_get(&state, "late/t/0"), "4,6,8");
    assert_string_equal(tr_state_get(&state, "late/t/1"), "20");
    tr_state_free(&state);
    tr_watermark_free(&w);
}

static void a_replay_ends_without_events_too(void **unused)
{
    (void)unused;
    struct tr_watermark w;
    restore(&w); /* the last of them may be malformed, or filtered */
    assert_false(is_late(&w, 0, 3, 1));
    tr_watermark_read(&w, (struct tr_slice){"t/0", 3}, 7);
    assert_true(tr_watermark_replays(&w));
    tr_watermark_read(&w, (struct tr_slice){"t/1", 3}, 100);
    assert_true(tr_watermark_replays(&w));
    tr_watermark_read(&w, (struct tr_slice){"t/0", 3}, 8);
    assert_false(tr_watermark_replays(&w));
    tr_watermark_free(&w);
    restore(&w);
    tr_watermark_split_gone(&w, 0); /* nobody will read it again here */
    assert_false(tr_watermark_replays(&w));
    know(&w, 0, "t/0");
    assert_true(tr_watermark_replays(&w));
    tr_watermark_read(&w, (struct tr_slice){"t/0", 3}, 8);
    assert_false(tr_watermark_replays(&w));
    tr_watermark_split_gone(&w, 0);
    assert_false(tr_watermark_replays(&w));
    tr_watermark_free(&w);
}

static void too_many_late_events_wait(void **unused)
{
    (void)unused;
    struct tr_watermark w;
    bool late;
    tr_watermark_init(&w, 0, 0);
    w.tracks_late = true;
    know(&w, 0, "t/0");
    assert_false(is_late(&w, 0, 0, 1000));
    for (int64_t i = 0; i < TR_RANGES_MAX; i++)
        assert_true(is_late(&w, 0, 1 + 2 * i, 1));
    const int64_t at = 1 + 2 * TR_RANGES_MAX;
    assert_int_equal(tr_watermark_event(&w, 0, at, at + 1, 1, 0, &late, &err), TR_AGAIN);
    assert_int_equal(w.splits[0].next, at - 1);
    assert_false(is_late(&w, 0, at, 1000)); /* others go on */
    tr_watermark_acked(&w, "t/0", 2);
    assert_true(is_late(&w, 0, at + 1, 1));
    tr_watermark_free(&w);
}

static void damage_is_told(void **unused)
{
    (void)unused;
    struct tr_watermark w;
    struct tr_state state;
    tr_state_init(&state);
    assert_int_equal(tr_state_set(&state, "late/t/0", "7-x", &err), TR_OK);
    tr_watermark_init(&w, 0, 0);
    assert_int_equal(tr_watermark_restore(&w, &state, &err), TR_OK);
    assert_int_equal(tr_watermark_split(&w, 0, "t/0", 0, &err), TR_FAIL);
    assert_int_equal(tr_watermark_split(&w, TR_SPLITS_MAX, "x", 0, &err), TR_FAIL);
    tr_watermark_free(&w);
    tr_state_free(&state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_slowest_split_decides),
        cmocka_unit_test(times_before_1970),
        cmocka_unit_test(idle_splits_hold_nothing),
        cmocka_unit_test(gone_splits_hold_nothing),
        cmocka_unit_test(marks_only_when_changed),
        cmocka_unit_test(what_was_decided_is_decided),
        cmocka_unit_test(a_replay_ends_without_events_too),
        cmocka_unit_test(too_many_late_events_wait),
        cmocka_unit_test(damage_is_told),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
