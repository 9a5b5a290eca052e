/* Failpoints: named places where a test makes the process die, fail or wait.
 *   TAILRACE_FAILPOINT='sink.sqlite.before_commit=kill@3,checkpoint.rename=error'
 * Actions: kill (SIGKILL to ourselves), exit (_exit 70), error, enospc, sleep:MS. @N: at the N-th
 * passage only (default: the first for kill and exit, every one for the others).
 * Costs one predictable branch when the variable is not set. Always compiled in: what is tested is
 * what ships. */
#ifndef TR_BASE_FAILPOINT_H
#define TR_BASE_FAILPOINT_H
#include <stdbool.h>

extern bool tr_failpoint_armed;
void tr_failpoint_init(void); /* reads the environment; call once before threads */
/* Returns 0, or an errno value that the place shall act on as its own failure (EIO, ENOSPC). */
int tr_failpoint_hit(const char *name);
#define TR_FAILPOINT(name) (__builtin_expect(tr_failpoint_armed, 0) ? tr_failpoint_hit(name) : 0)
#endif
