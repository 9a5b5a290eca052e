#include "base/thread.h"

#include <pthread.h>
#include <stdio.h>

#define NAME_SIZE 16

void tr_thread_name(const char *what, const char *detail)
{
    char name[NAME_SIZE];
    (void)snprintf(name, sizeof name, "%s%s%s", what, detail == NULL ? "" : " ",
                   detail == NULL ? "" : detail);
    (void)pthread_setname_np(pthread_self(), name);
}
