if(TARGET tr_source_kafka)
  tr_test(unit_source_kafka_options unit/source_kafka_options.c LIBS tr_source_kafka tr_config)
endif()
