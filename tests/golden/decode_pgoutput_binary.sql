-- Recorded with binary 'true': values of the kind 'b'.
CREATE TABLE blobs (v bytea);
SELECT pg_create_logical_replication_slot('golden_slot', 'pgoutput');
INSERT INTO blobs VALUES ('\x00ff'), (''), (NULL);
