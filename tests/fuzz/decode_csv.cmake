tr_fuzz(fuzz_decode_csv ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/decode_csv.c
        ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus_csv LIBS tr_decode)
