tr_test(golden_encode_debezium ${CMAKE_CURRENT_SOURCE_DIR}/golden/encode/golden_debezium.c
  LIBS tr_encode PkgConfig::JANSSON)
target_compile_definitions(golden_encode_debezium PRIVATE
  GOLDEN_FILE="${CMAKE_CURRENT_SOURCE_DIR}/golden/encode/debezium.txt")
tr_test(golden_encode_envelope ${CMAKE_CURRENT_SOURCE_DIR}/golden/encode/golden_envelope.c LIBS tr_encode)
