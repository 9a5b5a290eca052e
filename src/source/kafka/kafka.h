/* The Kafka source. */
#ifndef TR_SOURCE_KAFKA_H
#define TR_SOURCE_KAFKA_H

#include "tailrace/source.h"

extern const struct tr_source_ops tr_source_kafka;

#endif
