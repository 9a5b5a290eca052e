/* The file source: lines or CSV records of files and of standard input. */
#ifndef TR_SOURCE_FILE_FILE_H
#define TR_SOURCE_FILE_FILE_H

#include "tailrace/source.h"

extern const struct tr_source_ops tr_source_file;

#endif
