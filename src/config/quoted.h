/* YAML's quoted scalars. */
#ifndef TR_CONFIG_QUOTED_H
#define TR_CONFIG_QUOTED_H

#include "config/pool.h"

/* The value of a scalar in single or double quotes; `from` is behind the first quote, `limit` the input's
 * end. NUL-terminated; *len counts NULs that escapes made. NULL: no closing quote, an unknown escape, or
 * memory is out. */
char *tr_quoted_text(struct tr_pool *pool, char quote, const char *from, const char *limit,
                     size_t *len);

#endif
