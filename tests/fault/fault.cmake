# kill -9 at named failpoints and at random; tr_scenario is in integration.cmake. The environment's
# TAILRACE_TEST_KILLS (default 100) is the number of random kills of all sinks together.
include_guard(GLOBAL)
include(${CMAKE_CURRENT_LIST_DIR}/../integration/integration.cmake)
tr_scenario(fault crash_sqlite TIMEOUT 600)
tr_scenario(fault crash_postgres TIMEOUT 400)
tr_scenario(fault crash_kafka TIMEOUT 500 KAFKA)
tr_scenario(fault crash_file TIMEOUT 400)
tr_scenario(fault random_sqlite TIMEOUT 500)
tr_scenario(fault random_postgres TIMEOUT 500)
tr_scenario(fault random_kafka TIMEOUT 600 KAFKA)
tr_scenario(fault random_file TIMEOUT 400)
