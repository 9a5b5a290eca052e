/* Names of threads, as `top -H` and debuggers show them. */
#ifndef TR_BASE_THREAD_H
#define TR_BASE_THREAD_H

/* Names the calling thread "what" or "what detail", cut to the 15 bytes that the kernel keeps. */
void tr_thread_name(const char *what, const char *detail);
#endif
