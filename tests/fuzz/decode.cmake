add_library(fuzz_decode_support STATIC unit/decode_support.c)
target_link_libraries(fuzz_decode_support PUBLIC tr_decode)
tr_fuzz(fuzz_decode_pgoutput fuzz/decode_pgoutput.c
        ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus_pgoutput LIBS fuzz_decode_support)
tr_fuzz(fuzz_decode_pgcopy fuzz/decode_pgcopy.c
        ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus_pgcopy LIBS tr_decode)
tr_fuzz(fuzz_decode_table_text fuzz/decode_table_text.c
        ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus_table_text LIBS tr_event)
