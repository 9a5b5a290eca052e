tr_test(unit_event_batch unit/event_batch.c LIBS tr_event)
tr_test(unit_event_table unit/event_table.c LIBS tr_event)
tr_test(unit_event_state unit/event_state.c LIBS tr_event)
tr_test(property_event_state property/event_state.c LIBS tr_event)
