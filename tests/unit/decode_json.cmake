tr_test(unit_decode_json_reader unit/decode_json_reader.c LIBS tr_decode)
tr_test(unit_decode_json_formats unit/decode_json_formats.c unit/decode_json_support.c
        LIBS tr_decode)
