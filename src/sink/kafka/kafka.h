/* The Kafka sink. */
#ifndef TR_SINK_KAFKA_H
#define TR_SINK_KAFKA_H

#include "tailrace/sink.h"

extern const struct tr_sink_ops tr_sink_kafka;

#endif
