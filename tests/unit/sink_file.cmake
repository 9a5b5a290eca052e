if(TARGET tr_sink_file)
  tr_test(unit_sink_file unit/sink_file.c unit/sink_rows.c LIBS tr_sink_file)
  tr_test(fault_sink_file unit/sink_file_faults.c unit/sink_rows.c LIBS tr_sink_file)
  tr_test(unit_sink_stdout unit/sink_stdout.c unit/sink_rows.c LIBS tr_sink_file)
endif()
if(TARGET fault_sink_file)
  set_tests_properties(fault_sink_file PROPERTIES TIMEOUT 600) # it waits for fsync
endif()
