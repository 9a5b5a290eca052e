#!/bin/sh
# Makes tests/golden/decode_pgoutput*.hex anew:
#   decode_pgoutput.sh RECORD_PGOUTPUT_BINARY [POSTGRES_BIN_DIR]
# Starts a private PostgreSQL as an ordinary user, runs the SQL beside this file, and records what the
# slot gives. LSNs, xids, oids and times differ each time, so the .jsonl files must be made anew too:
# golden_decode_pgoutput writes what it got to the file that it names when it fails.
set -eu
record=$1
bin=${2:-/usr/lib/postgresql/15/bin}
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap '$as "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT
as=
if [ "$(id -u)" = 0 ]; then
    chown postgres "$dir"
    as='setpriv --reuid=postgres --regid=postgres --clear-groups'
fi
$as "$bin/initdb" -D "$dir/data" -A trust -U postgres --locale=C -E UTF8 >/dev/null
$as "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w start >/dev/null \
    -o "-k $dir -c listen_addresses= -c wal_level=logical -c fsync=off -c autovacuum=off"
for name in decode_pgoutput decode_pgoutput_binary; do
    createdb -h "$dir" -U postgres $name
    psql -h "$dir" -U postgres -d $name -qc "CREATE PUBLICATION golden_pub FOR ALL TABLES"
    psql -h "$dir" -U postgres -d $name -v ON_ERROR_STOP=1 -q -f "$here/$name.sql" >/dev/null
    binary=
    [ $name = decode_pgoutput ] || binary=binary
    "$record" "host=$dir user=postgres dbname=$name replication=database options='-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c extra_float_digits=3 -c bytea_output=hex'" \
        golden_slot golden_pub $binary >"$here/$name.hex"
    psql -h "$dir" -U postgres -d $name -qAtc "SELECT pg_drop_replication_slot('golden_slot')" >/dev/null
done
wc "$here"/decode_pgoutput*.hex
