if(TARGET tr_sink_sqlite)
  foreach(part rows types ddl faults gather newest)
    tr_test(unit_sink_sqlite_${part} unit/sink_sqlite_${part}.c unit/sink_sqlite_support.c
      LIBS tr_sink_sqlite)
  endforeach()
endif()
tr_test(unit_sink_null unit/sink_null.c LIBS tr_sink_null)
