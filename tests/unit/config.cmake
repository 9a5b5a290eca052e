set(unit ${CMAKE_CURRENT_LIST_DIR})
tr_test(unit_config_tree ${unit}/test_config_tree.c LIBS tr_config)
tr_test(unit_config_expand ${unit}/test_config_expand.c LIBS tr_config)
