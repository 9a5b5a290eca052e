if(TARGET tr_sink_sqlite)
  foreach(part rows types)
    tr_test(unit_sink_sqlite_${part} unit/sink_sqlite_${part}.c unit/sink_sqlite_support.c
      LIBS tr_sink_sqlite)
  endforeach()
endif()
