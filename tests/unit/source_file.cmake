tr_test(unit_decode_frame unit/decode_frame.c LIBS tr_decode)
tr_test(unit_decode_csv unit/decode_csv.c LIBS tr_decode)
tr_test(unit_source_file unit/source_file.c LIBS tr_source_file)
tr_test(unit_source_file_ops unit/source_file_ops.c LIBS tr_source_file tr_config)
