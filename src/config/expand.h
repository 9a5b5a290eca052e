/* ${...} in scalar values, replaced after the YAML was read, so that what comes from outside can
 * never become structure.
 *   ${env:X}  ${X}             environment variable X; an error when it is not set
 *   ${X:-text} ${env:X:-text}  the default when X is not set or empty
 *   ${file:/path}              the file's bytes without one newline at the end
 *   $${                        a literal ${
 * Every other $ stays: $1 of routes, a password's $. What was put in is not looked at again. */
#ifndef TR_CONFIG_EXPAND_H
#define TR_CONFIG_EXPAND_H

#include "config/tree.h"

#define TR_EXPAND_FILE_BYTES_MAX (64u * 1024)  /* one ${file:...} */
#define TR_EXPAND_VALUE_BYTES_MAX (256u * 1024) /* one value, expanded */

/* Expands every scalar below root in place. TR_E_CONFIG_EXPAND with name:line:column. */
enum tr_status tr_expand_tree(struct tr_pool *pool, struct tr_node *root, const char *name,
                              struct tr_error *err) TR_WARN_UNUSED;

#endif
