/* What is particular to checkpoints in files: their names. */
#ifndef TR_CHECKPOINT_STORE_FILE_H
#define TR_CHECKPOINT_STORE_FILE_H

#include "tailrace/checkpoint.h"

#define TR_CHECKPOINT_MAGIC "tailrace-checkpoint"
#define TR_CHECKPOINT_LOCK_NAME "lock"
#define TR_CHECKPOINT_SAVEPOINTS_FOLDER "savepoints"
#define TR_CHECKPOINT_KEEP_MIN 2u
#define TR_CHECKPOINT_KEEP_MAX 1000u

#endif
