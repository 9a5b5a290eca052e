# The PostgreSQL sink: pure parts, and the whole against a real server that the binaries start.
if(TARGET tr_sink_postgres)
  tr_test(unit_sink_postgres_encode unit/sink_postgres_encode.c
    LIBS tr_sink_postgres)
  set(pgs_dir ${CMAKE_SOURCE_DIR}/tests/integration/sink_postgres_unit)
  add_library(pgs_feed STATIC ${pgs_dir}/server.c ${pgs_dir}/feed.c)
  target_link_libraries(pgs_feed PUBLIC tr_sink_postgres PkgConfig::CMOCKA)
  add_executable(bench_sink_postgres EXCLUDE_FROM_ALL ${pgs_dir}/bench.c)
  target_link_libraries(bench_sink_postgres PRIVATE pgs_feed)
  foreach(part ops random newest)
    tr_test(integration_sink_postgres_${part} ${pgs_dir}/test_${part}.c LIBS pgs_feed)
    set_tests_properties(integration_sink_postgres_${part} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
  endforeach()
endif()
