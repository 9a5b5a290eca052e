tr_test(unit_encode_version_key ${CMAKE_CURRENT_SOURCE_DIR}/unit/encode/test_version_key.c LIBS tr_encode)
tr_test(unit_event_pending_marks unit/event_pending_marks.c LIBS tr_event)
