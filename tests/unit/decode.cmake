tr_test(unit_decode_pgoutput unit/decode_pgoutput.c unit/decode_support.c LIBS tr_decode)
tr_test(unit_decode_pgcopy unit/decode_pgcopy.c LIBS tr_decode)
