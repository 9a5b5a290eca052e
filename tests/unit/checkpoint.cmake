tr_test(unit_checkpoint_store_file unit/checkpoint_store_file.c LIBS tr_checkpoint)
tr_test(property_checkpoint_damage property/checkpoint_damage.c LIBS tr_checkpoint)
tr_fuzz(fuzz_checkpoint ${CMAKE_CURRENT_LIST_DIR}/../fuzz/checkpoint.c
  ${CMAKE_CURRENT_LIST_DIR}/../fuzz/checkpoint_corpus LIBS tr_event)
