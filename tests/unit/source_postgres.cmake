if(TARGET tr_source_postgres)
  tr_test(unit_source_postgres_options unit/source_postgres_options.c LIBS tr_source_postgres tr_config)
  tr_test(unit_source_postgres_relation unit/source_postgres_relation.c LIBS tr_source_postgres tr_config)
endif()
