if(TARGET tr_control)
  tr_test(unit_control unit/control.c LIBS tr_control)
endif()
