# Scenarios against real servers: one folder each, one ctest test each, run by harness/run.py.
# tr_scenario(KIND NAME TIMEOUT seconds [KAFKA] [HEAVY] [LABELS more…])
#   KAFKA: uses the broker that the fixture starts once. HEAVY: not beside another heavy one.
find_program(TAILRACE_TEST_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH)
set(TAILRACE_TEST_SERVERS ${CMAKE_BINARY_DIR}/test-servers.json)

function(tr_scenario kind name)
  cmake_parse_arguments(ARG "KAFKA;HEAVY" "TIMEOUT" "LABELS" ${ARGN})
  if(NOT TARGET tailrace OR NOT TAILRACE_TEST_PYTHON)
    return()
  endif()
  set(test ${kind}_${name})
  add_test(NAME ${test}
    COMMAND ${TAILRACE_TEST_PYTHON} ${CMAKE_SOURCE_DIR}/tests/harness/run.py
      ${CMAKE_SOURCE_DIR}/tests/${kind}/${name} --bin $<TARGET_FILE:tailrace>
      --servers ${TAILRACE_TEST_SERVERS})
  if(TAILRACE_SANITIZE)
    set(sanitized 1)
  else()
    set(sanitized 0)
  endif()
  set_tests_properties(${test} PROPERTIES
    LABELS "${kind};${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT} SKIP_RETURN_CODE 77
    ENVIRONMENT "TAILRACE_SANITIZED=${sanitized};PYTHONDONTWRITEBYTECODE=1")
  if(ARG_KAFKA)
    set_tests_properties(${test} PROPERTIES FIXTURES_REQUIRED broker)
  endif()
  if(ARG_HEAVY)
    set_tests_properties(${test} PROPERTIES RESOURCE_LOCK machine)
  endif()
endfunction()

if(TARGET tailrace AND TAILRACE_TEST_PYTHON)
  foreach(step start stop)
    add_test(NAME servers_${step} COMMAND ${TAILRACE_TEST_PYTHON}
      ${CMAKE_SOURCE_DIR}/tests/harness/servers.py ${step} ${TAILRACE_TEST_SERVERS})
  endforeach()
  set_tests_properties(servers_start PROPERTIES FIXTURES_SETUP broker TIMEOUT 950 LABELS servers)
  set_tests_properties(servers_stop PROPERTIES FIXTURES_CLEANUP broker TIMEOUT 60 LABELS servers)
endif()

tr_scenario(integration harness_self TIMEOUT 300 KAFKA)
