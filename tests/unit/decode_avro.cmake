if(AVRO_FOUND)
  tr_test(unit_decode_avro unit/decode_avro.c LIBS tr_decode PkgConfig::AVRO)
endif()
tr_fuzz(fuzz_decode_avro fuzz/decode_avro.c ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus_avro LIBS tr_decode)
