#!/bin/sh
# The include rule: which folder of src/ may know which.
#   include_rule.sh SRC         prints every offence; exit 1 when there is one
#   include_rule.sh --selftest  proves that each rule can fail
#
# 1. source/ and sink/ include neither each other nor pipeline/, gateway/, engine/, cli/; nor do
#    event/, decode/, encode/, checkpoint/, config/, control/ and kafka/ include any of those, or source/, sink/.
# 2. decode/ and encode/ do no I/O: no header and no call of that kind.
# 3. base/ includes only base/, errors/ and tailrace/error.h, and has no word of change data capture.
# 4. One connector does not include another's folder.
# 5. transform/ includes only transform/, event/, base/, errors/ and tailrace/; and of source/, sink/ and
#    pipeline/ only pipeline/, config/ and cli/ may know it: rows reach it through the contracts.
set -u

found=0
# offence RULE TEXT…: TEXT is grep's output, empty for none
offence() {
    rule=$1
    shift
    [ -n "$*" ] || return 0
    printf '%s\n' "$*" | sed "s|^|$rule: |"
    found=1
}

# includes FOLDER: "file:line:path" of every include with quotes or brackets below FOLDER
includes() {
    [ -d "$1" ] || return 0
    grep -rnE --include='*.[ch]' --include='*.cc' --include='*.cpp' --include='*.hpp' \
        '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]' "$1" |
        sed -E 's/:[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]([^>"]*)[>"].*/:\1/'
}

# calls FOLDER REGEX: lines that match, without their string literals and without whole-line comments
calls() {
    [ -d "$1" ] || return 0
    grep -rn --include='*.[ch]' '(' "$1" | grep -vE '^[^:]*:[0-9]+:[[:space:]]*(/?\*|//)' |
        sed -E 's/"([^"\\]|\\.)*"/""/g' | grep -E "$2"
}

check() {
    src=$1
    upper='(\.\./)*(pipeline|gateway|engine|cli)/'
    offence 'source/ knows too much' "$(includes "$src/source" | grep -E ":((\.\./)*sink/|$upper)")"
    offence 'sink/ knows too much' "$(includes "$src/sink" | grep -E ":((\.\./)*source/|$upper)")"
    for folder in event decode encode checkpoint config control kafka; do
        offence "$folder/ knows too much" \
            "$(includes "$src/$folder" | grep -E ":((\.\./)*(source|sink)/|$upper)")"
    done

    offence 'transform/ knows too much' "$(includes "$src/transform" | grep '/' |
        grep -E ":(\.\./)*(source|sink|config|decode|encode|checkpoint|control|pipeline|gateway|engine|cli)/")"
    for folder in source sink event decode encode checkpoint control base; do
        offence "$folder/ includes transform/" "$(includes "$src/$folder" | grep -E ':(\.\./)*transform/')"
    done

    io='(libpq-fe|curl/|librdkafka|rdkafka|mysql|mariadb|sqlite3|sybdb|sybfront|microhttpd|openssl/)'
    io="$io|(sys/(socket|un|uio|stat|epoll|eventfd|mman|file|ioctl)|netinet/|arpa/|netdb|poll|fcntl|unistd|dirent)\.?h?"
    io="$io|base/fs\.h"
    for folder in decode encode; do
        offence "$folder/ includes I/O" "$(includes "$src/$folder" | grep -E ":($io)")"
        offence "$folder/ does I/O" "$(calls "$src/$folder" \
            '(^|[^[:alnum:]_.>])(fopen|fdopen|freopen|fread|fwrite|fputs|fputc|puts|putchar|printf|fprintf|vfprintf|vprintf|perror|open|openat|read|write|send|recv|socket|popen|system|getenv)[[:space:]]*\(')"
    done

    offence 'base/ knows too much' "$(includes "$src/base" |
        grep -E ':(tailrace/|[[:alnum:]_]+/)[^:]*$' | grep '\.\(h\|def\)$' |
        grep -vE ':(tailrace/error\.h|base/|errors/|sys/|linux/|arpa/|netinet/)')"
    [ -d "$src/base" ] && offence 'base/ has a word of change data capture' "$(grep -rniwE \
        --include='*.[ch]' \
        'slots?_name|replication|publications?|snapshots?|lsn|gtid|binlog|wal|pgoutput|toast|tombstones?|watermarks?|postgres(ql)?|kafka|mysql|debezium|tr_(table|event|batch|source|sink)[a-z_]*' \
        "$src/base")"

    for kind in source sink; do
        for folder in "$src/$kind"/*/; do
            [ -d "$folder" ] || continue
            name=$(basename "$folder")
            offence "$kind/$name includes another connector" "$(includes "$folder" |
                grep -E ":(\.\./)*$kind/[^/]+/" | grep -vE ":(\.\./)*$kind/$name/")"
        done
    done
}

# bad FILE TEXT NAME: a tree with this one file must be refused; $clean is the same without it
bad() {
    tree=$(mktemp -d)
    mkdir -p "$tree/$(dirname "$1")"
    printf '%s\n' "$2" >"$tree/$1"
    found=0
    check "$tree" >"$tree/out"
    if [ "$found" -eq 0 ]; then
        echo "not found: $1: $2"
        failed=1
    fi
    rm -rf "$tree"
}
good() {
    tree=$(mktemp -d)
    mkdir -p "$tree/$(dirname "$1")"
    printf '%s\n' "$2" >"$tree/$1"
    found=0
    check "$tree" >"$tree/out"
    if [ "$found" -ne 0 ]; then
        echo "wrongly refused: $1: $2"
        cat "$tree/out"
        failed=1
    fi
    rm -rf "$tree"
}

selftest() {
    failed=0
    bad source/x/a.c '#include "sink/y/b.h"'
    bad source/x/a.c '#include "pipeline/engine.h"'
    bad source/x/a.h '  #  include "gateway/http.h"'
    bad sink/x/a.c '#include "source/postgres/postgres.h"'
    bad sink/x/a.c '#include "../../source/postgres/postgres.h"'
    bad sink/x/a.c '#include "cli/run.h"'
    bad sink/x/a.c '#include "sink/y/b.h"'
    bad source/x/a.c '#include "source/y/b.h"'
    bad event/a.c '#include "sink/y/b.h"'
    bad kafka/a.c '#include "sink/kafka/b.h"'
    good source/kafka/a.c '#include "kafka/client.h"'
    bad config/a.c '#include "pipeline/engine.h"'
    bad decode/a.c '#include <libpq-fe.h>'
    bad decode/a.c '#include <sys/socket.h>'
    bad encode/a.c '#include <librdkafka/rdkafka.h>'
    bad encode/a.c '#include <unistd.h>'
    bad encode/a.c '#include "base/fs.h"'
    bad encode/a.c '    printf("row");'
    bad decode/a.c '    n = read(fd, buf, 1);'
    bad decode/a.c '    FILE *f = fopen(path, "r");'
    bad transform/a.c '#include "pipeline/engine.h"'
    bad transform/a.c '#include "sink/x/a.h"'
    bad transform/a.c '#include "encode/datetime.h"'
    bad sink/x/a.c '#include "transform/transform.h"'
    bad base/a.c '#include "event/batch.h"'
    bad base/a.c '#include "tailrace/event.h"'
    bad base/a.c '/* keeps the LSN */'
    bad base/a.c 'struct tr_table *table;'
    bad base/a.c '/* of a snapshot */'
    good source/x/a.c '#include "source/x/b.h"'
    good source/x/a.c '#include "decode/pgoutput.h"'
    good sink/x/a.c '#include "encode/encode.h"'
    good sink/x/a.c '#include <libpq-fe.h>'
    good decode/a.c '#include <stdio.h>'
    good decode/a.c '    len = snprintf(buf, sizeof buf, "%d", 1);'
    good decode/a.c '    cursor_read(cursor, 4); reader->read(1);'
    good decode/a.c '    help = "send (a value)";'
    good decode/a.c '/* what read(2) gave */'
    good decode/a.c ' * printf() is not called here'
    good transform/a.c '#include "event/batch.h"'
    good transform/a.c '#include <sqlite3.h>'
    good pipeline/a.c '#include "transform/transform.h"'
    good base/a.c '#include "tailrace/error.h"'
    good base/a.c '#include <sys/socket.h>'
    good base/a.c '#include <linux/futex.h>'
    good base/a.c 'void **slots; /* the error table */'
    [ "$failed" -eq 0 ] && echo 'each rule can fail'
    return "$failed"
}

if [ "${1-}" = --selftest ]; then
    selftest
    exit
fi
if [ ! -d "${1-}/base" ]; then
    echo "usage: $0 SRC | --selftest" >&2
    exit 2
fi
check "$1"
exit "$found"
