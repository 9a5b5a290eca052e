tr_test(unit_verify_core unit/verify_core.c LIBS tr_verify)
