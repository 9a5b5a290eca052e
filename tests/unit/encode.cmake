tr_test(unit_encode_json ${CMAKE_CURRENT_SOURCE_DIR}/unit/encode/test_json.c LIBS tr_encode PkgConfig::JANSSON)
tr_test(unit_encode_decimal ${CMAKE_CURRENT_SOURCE_DIR}/unit/encode/test_decimal.c LIBS tr_encode)
tr_test(unit_encode_datetime ${CMAKE_CURRENT_SOURCE_DIR}/unit/encode/test_datetime.c LIBS tr_encode)
tr_test(unit_encode_value ${CMAKE_CURRENT_SOURCE_DIR}/unit/encode/test_value.c LIBS tr_encode PkgConfig::JANSSON)
