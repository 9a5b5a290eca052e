tr_test(unit_pipeline_engine ${CMAKE_CURRENT_LIST_DIR}/test_pipeline_engine.c LIBS tr_pipeline)
tr_test(property_pipeline_ack ${CMAKE_CURRENT_LIST_DIR}/test_pipeline_ack.c LIBS tr_pipeline)
