tr_test(property_decode_split property/decode_split.c unit/decode_support.c LIBS tr_decode)
tr_test(property_decode_pgcopy property/decode_pgcopy.c unit/decode_support.c LIBS tr_decode)
tr_test(property_event_schema property/event_schema.c unit/decode_support.c LIBS tr_decode)
