file(GLOB decode_formats_files CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/golden/decode_formats/*.txt)
tr_test(golden_decode_formats golden/decode_formats.c unit/decode_json_support.c
        LIBS tr_decode ARGS ${decode_formats_files})
