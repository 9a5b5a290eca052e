/* Records the replication messages of a PostgreSQL server for the golden tests. Not run by ctest:
 *
 *   record_pgoutput CONNINFO SLOT PUBLICATION [BINARY] > recording.hex
 *
 * Reads what the slot holds up to the log's current end and writes a line per message:
 * "LSN payload", both hexadecimal. decode_pgoutput.sh beside it starts the server and runs the SQL.
 */
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES 25 /* 'w', start LSN, end LSN, time */

static uint64_t load_u64(const char *ptr)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | (uint8_t)ptr[i];
    return value;
}

static void print_message(const char *data, int len)
{
    printf("%" PRIX64 " ", load_u64(data + 1));
    for (int i = HEADER_BYTES; i < len; i++)
        printf("%02x", (unsigned)(uint8_t)data[i]);
    printf("\n");
}

static bool current_end(PGconn *connection, uint64_t *lsn)
{
    PGresult *result = PQexec(connection, "IDENTIFY_SYSTEM");
    unsigned high = 0, low = 0;
    bool found = PQresultStatus(result) == PGRES_TUPLES_OK &&
                 sscanf(PQgetvalue(result, 0, 2), "%X/%X", &high, &low) == 2;
    *lsn = (uint64_t)high << 32 | low;
    PQclear(result);
    return found;
}

/* Until the server says in a keepalive that it has sent everything before end. */
static int record(PGconn *connection, uint64_t end)
{
    for (;;) {
        char *data = NULL;
        int len = PQgetCopyData(connection, &data, 0);
        if (len < 0) {
            (void)fprintf(stderr, "the stream ended: %s", PQerrorMessage(connection));
            return 1;
        }
        bool done = data[0] == 'k' && load_u64(data + 1) >= end;
        if (data[0] == 'w' && len > HEADER_BYTES)
            print_message(data, len);
        PQfreemem(data);
        if (done)
            return 0;
    }
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        (void)fprintf(stderr, "usage: record_pgoutput CONNINFO SLOT PUBLICATION [BINARY]\n");
        return 2;
    }
    PGconn *connection = PQconnectdb(argv[1]);
    uint64_t end = 0;
    char command[512];
    if (PQstatus(connection) != CONNECTION_OK || !current_end(connection, &end)) {
        (void)fprintf(stderr, "%s", PQerrorMessage(connection));
        PQfinish(connection);
        return 1;
    }
    (void)snprintf(command, sizeof command,
                   "START_REPLICATION SLOT %s LOGICAL 0/0 (proto_version '1', "
                   "publication_names '%s', messages 'true'%s)",
                   argv[2], argv[3], argc > 4 ? ", binary 'true'" : "");
    PGresult *result = PQexec(connection, command);
    int exit_code = 1;
    if (PQresultStatus(result) == PGRES_COPY_BOTH)
        exit_code = record(connection, end);
    else
        (void)fprintf(stderr, "%s", PQerrorMessage(connection));
    PQclear(result);
    PQfinish(connection);
    return exit_code;
}
