#include "base/failpoint.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define FAILPOINTS_MAX 16

enum action { ACT_KILL, ACT_EXIT, ACT_ERROR, ACT_ENOSPC, ACT_SLEEP };
static struct point {
    char name[64];
    enum action action;
    int sleep_ms;
    long at; /* 0 = every passage */
    _Atomic long passages;
} points[FAILPOINTS_MAX];
static int point_count;
bool tr_failpoint_armed;

static void add(char *spec)
{
    char *action = strchr(spec, '=');
    if (action == NULL || point_count == FAILPOINTS_MAX)
        return;
    *action++ = '\0';
    struct point *point = &points[point_count];
    char *at = strchr(action, '@');
    if (at != NULL)
        *at++ = '\0';
    if (strcmp(action, "kill") == 0)
        point->action = ACT_KILL;
    else if (strcmp(action, "exit") == 0)
        point->action = ACT_EXIT;
    else if (strcmp(action, "error") == 0)
        point->action = ACT_ERROR;
    else if (strcmp(action, "enospc") == 0)
        point->action = ACT_ENOSPC;
    else if (strncmp(action, "sleep:", 6) == 0)
        point->action = ACT_SLEEP, point->sleep_ms = (int)strtol(action + 6, NULL, 10);
    else {
        tr_log(TR_LOG_WARN, "unknown failpoint action", "action=%s", action);
        return;
    }
    bool once = point->action == ACT_KILL || point->action == ACT_EXIT;
    point->at = at != NULL ? strtol(at, NULL, 10) : once ? 1 : 0;
    (void)snprintf(point->name, sizeof point->name, "%s", spec);
    point_count++;
    tr_failpoint_armed = true;
}

void tr_failpoint_init(void)
{
    const char *env = getenv("TAILRACE_FAILPOINT");
    if (env == NULL || *env == '\0')
        return;
    char *copy = strdup(env), *rest = copy, *spec;
    if (copy == NULL)
        return;
    while ((spec = strsep(&rest, ",")) != NULL)
        add(spec);
    free(copy);
}

int tr_failpoint_hit(const char *name)
{
    for (int i = 0; i < point_count; i++) {
        struct point *point = &points[i];
        if (strcmp(point->name, name) != 0)
            continue;
        long passage = atomic_fetch_add(&point->passages, 1) + 1;
        if (point->at != 0 && passage != point->at)
            continue;
        switch (point->action) {
        case ACT_KILL:
            (void)kill(getpid(), SIGKILL);
            for (;;)
                (void)pause();
        case ACT_EXIT:
            _exit(70);
        case ACT_ERROR:
            return EIO;
        case ACT_ENOSPC:
            return ENOSPC;
        case ACT_SLEEP:
            tr_clock_sleep_ms(point->sleep_ms);
            return 0;
        }
    }
    return 0;
}
