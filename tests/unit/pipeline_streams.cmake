tr_test(property_pipeline_streams unit/pipeline_streams.c LIBS tr_pipeline)
