add_test(NAME unit_include_rule
  COMMAND ${CMAKE_CURRENT_LIST_DIR}/include_rule.sh ${CMAKE_CURRENT_LIST_DIR}/../../src)
# The rule's own test: it must find each kind of offence in a made-up tree.
add_test(NAME unit_include_rule_selftest COMMAND ${CMAKE_CURRENT_LIST_DIR}/include_rule.sh --selftest)
