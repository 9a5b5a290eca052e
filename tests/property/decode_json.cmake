tr_test(property_decode_json property/decode_json.c LIBS tr_decode PkgConfig::JANSSON)
