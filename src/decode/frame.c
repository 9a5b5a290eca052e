/* CSV's states, as RFC 4180 has them and as Python's csv reads what breaks it:
 *
 *   START     at the first byte of a field
 *   PLAIN     within a field that has no quotes (a quote is a byte like others)
 *   QUOTED    between quotes: newlines and delimiters are content
 *   CLOSING   behind a quote within QUOTED: another quote is content, all else is outside again
 *
 * Only \n ends a record; the \r of \r\n is cut by tr_frame_trim. */
#include "decode/frame.h"

#include <string.h>

enum { START, PLAIN, QUOTED, CLOSING };

static enum tr_status one_byte(const char *name, const char *text, char *byte, struct tr_error *err)
{
    if (strcmp(text, "\\t") == 0)
        text = "\t";
    if (strlen(text) != 1 || *text == '\n' || *text == '\r' || (unsigned char)*text >= 0x80)
        return tr_fail(err, TR_E_CONFIG_VALUE, "%s is not one ASCII character", name);
    *byte = *text;
    return TR_OK;
}

enum tr_status tr_csv_characters(const struct tr_decoder_options *options, char *delimiter,
                                 char *quote, struct tr_error *err)
{
    *quote = '\0';
    if (one_byte("csv.delimiter", options->csv_delimiter, delimiter, err) != TR_OK)
        return TR_FAIL;
    if (options->csv_quote[0] != '\0' &&
        one_byte("csv.quote", options->csv_quote, quote, err) != TR_OK)
        return TR_FAIL;
    if (*quote == *delimiter)
        return tr_fail(err, TR_E_CONFIG_VALUE, "csv.quote and csv.delimiter are the same");
    return TR_OK;
}

enum tr_status tr_frame_init(struct tr_frame *frame, const struct tr_decoder_options *options,
                             struct tr_error *err)
{
    *frame = (struct tr_frame){.csv = options->format == TR_DECODE_CSV};
    tr_frame_start(frame);
    if (!frame->csv)
        return TR_OK;
    return tr_csv_characters(options, &frame->delimiter, &frame->quote, err);
}

void tr_frame_start(struct tr_frame *frame)
{
    frame->scanned = 0;
    frame->state = START;
}

bool tr_frame_is_open(const struct tr_frame *frame) { return frame->state == QUOTED; }

static size_t csv_end(struct tr_frame *frame, const char *data, size_t len)
{
    unsigned char state = frame->state;
    for (size_t i = frame->scanned; i < len; i++) {
        char c = data[i];
        if (state == QUOTED) {
            const char *quote = memchr(data + i, frame->quote, len - i);
            if (quote == NULL)
                break;
            i = (size_t)(quote - data);
            state = CLOSING;
        } else if (c == '\n') {
            frame->state = START;
            frame->scanned = i + 1;
            return i + 1;
        } else if (c == frame->delimiter) {
            state = START;
        } else if (c == frame->quote && state != PLAIN) {
            state = QUOTED; /* opens a field, or is the second of two */
        } else {
            state = PLAIN;
        }
    }
    frame->state = state;
    frame->scanned = len;
    return 0;
}

size_t tr_frame_end(struct tr_frame *frame, const char *data, size_t len)
{
    bool quoting = frame->csv && frame->quote != '\0';
    if (len <= frame->scanned)
        return 0;
    if (quoting && frame->scanned > 0)
        return csv_end(frame, data, len);
    const char *newline = memchr(data + frame->scanned, '\n', len - frame->scanned);
    size_t line = newline == NULL ? len : (size_t)(newline - data) + 1;
    if (quoting && (newline == NULL || memchr(data, frame->quote, line) != NULL))
        return csv_end(frame, data, len);
    frame->scanned = line;
    return newline == NULL ? 0 : line;
}

size_t tr_frame_trim(const char *data, size_t len)
{
    if (len > 0 && data[len - 1] == '\n')
        len--;
    if (len > 0 && data[len - 1] == '\r')
        len--;
    return len;
}
