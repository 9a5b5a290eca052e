/* The pieces of JSON that the encoders write: strings, numbers, base64. Output is always valid
 * JSON, whatever the input bytes are: an invalid UTF-8 sequence becomes U+FFFD. */
#ifndef TR_ENCODE_JSON_H
#define TR_ENCODE_JSON_H

#include "base/outbuf.h"
#include "tailrace/event.h"

enum tr_base64_alphabet { TR_BASE64_STANDARD, TR_BASE64_URL };

/* The content of a string, without the quotes. */
void tr_json_escape(struct tr_outbuf *out, const char *ptr, size_t len);
void tr_json_string(struct tr_outbuf *out, const char *ptr, size_t len);
void tr_json_base64(struct tr_outbuf *out, const void *ptr, size_t len,
                    enum tr_base64_alphabet alphabet);
/* hex: an even number of hex digits. False (and nothing written) when it is not. */
bool tr_json_hex_base64(struct tr_outbuf *out, const char *hex, size_t len,
                        enum tr_base64_alphabet alphabet);
/* A binary floating point number's shortest text ("0.1", "1e+21", "NaN") as Java prints a double
 * ("0.1", "1.0E21"), which is what Connect's JSON holds; NaN and Infinity become strings. False
 * when the text is not a number. */
bool tr_json_float(struct tr_outbuf *out, const char *text, size_t len);
/* The same from a double. */
void tr_json_double(struct tr_outbuf *out, double value);
/* [-+]digits; written without leading '+'. False when the text is not an integer. */
bool tr_json_integer(struct tr_outbuf *out, const char *text, size_t len);

#endif
