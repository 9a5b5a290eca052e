tr_fuzz(fuzz_decode_json_reader fuzz/decode_json.c ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus_decode_json
        LIBS tr_decode)
foreach(format json cdc_json debezium_json canal_json maxwell_json)
  tr_fuzz(fuzz_decode_${format} fuzz/decode_format.c
          ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus_decode_format_${format} LIBS tr_decode)
  string(TOUPPER ${format} name)
  foreach(target fuzz_decode_${format} fuzz_decode_${format}_replay)
    if(TARGET ${target})
      target_compile_definitions(${target} PRIVATE FUZZ_FORMAT=TR_DECODE_${name})
    endif()
  endforeach()
endforeach()
