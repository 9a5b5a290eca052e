tr_fuzz(fuzz_pipeline_file ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/pipeline_file.c
        ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/pipeline_file LIBS tr_config)
