tr_test(property_pipeline_streams unit/pipeline_streams.c LIBS tr_pipeline)
tr_test(property_pipeline_ranges unit/pipeline_ranges.c LIBS tr_pipeline)
tr_test(unit_pipeline_watermark unit/pipeline_watermark.c LIBS tr_pipeline)
tr_test(unit_pipeline_window unit/pipeline_window.c LIBS tr_pipeline)
