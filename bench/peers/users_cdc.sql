-- The users_cdc job for Flink SQL: Kafka (op, before, after, timestamp) -> event time with 5 s of
-- tolerance -> lower-cased email -> last write wins per id -> PostgreSQL; counts per op and minute ->
-- PostgreSQL; late events -> a Kafka topic. ${NAMES} are filled in by flink.py, which sends one
-- statement after the other: they are parted by an empty line behind a semicolon.

CREATE TABLE users_cdc (
    `op` STRING,
    `before` ROW<id INT, name STRING, email STRING>,
    `after` ROW<id INT, name STRING, email STRING>,
    `timestamp` TIMESTAMP_LTZ(3),
    WATERMARK FOR `timestamp` AS `timestamp` - INTERVAL '5' SECOND
) WITH (
    'connector' = 'kafka',
    'topic' = '${TOPIC}',
    'properties.bootstrap.servers' = '${BOOTSTRAP}',
    'properties.group.id' = '${GROUP}',
    'scan.startup.mode' = 'earliest-offset',
    'format' = 'json',
    'json.ignore-parse-errors' = 'true',
    'json.fail-on-missing-field' = 'false',
    'json.timestamp-format.standard' = 'ISO-8601'
);

CREATE TABLE migrated_users (
    id INT,
    name STRING,
    email STRING,
    op STRING,
    event_time TIMESTAMP(3),
    PRIMARY KEY (id) NOT ENFORCED
) WITH (
    'connector' = 'jdbc',
    'url' = '${JDBC_URL}',
    'username' = '${JDBC_USER}',
    'password' = '${JDBC_PASSWORD}',
    'table-name' = 'migrated_users',
    'sink.buffer-flush.max-rows' = '5000',
    'sink.buffer-flush.interval' = '1s'
);

CREATE TABLE user_counts (
    window_start TIMESTAMP(3),
    op STRING,
    cnt BIGINT,
    PRIMARY KEY (window_start, op) NOT ENFORCED
) WITH (
    'connector' = 'jdbc',
    'url' = '${JDBC_URL}',
    'username' = '${JDBC_USER}',
    'password' = '${JDBC_PASSWORD}',
    'table-name' = 'user_counts',
    'sink.buffer-flush.max-rows' = '5000',
    'sink.buffer-flush.interval' = '1s'
);

CREATE TABLE users_cdc_dlq (
    id INT,
    name STRING,
    email STRING,
    op STRING,
    event_time TIMESTAMP_LTZ(3)
) WITH (
    'connector' = 'kafka',
    'topic' = '${DLQ_TOPIC}',
    'properties.bootstrap.servers' = '${BOOTSTRAP}',
    'format' = 'json',
    'json.timestamp-format.standard' = 'ISO-8601'
);

CREATE VIEW v_rows AS
SELECT COALESCE(`after`.id, `before`.id) AS id,
       COALESCE(`after`.name, `before`.name) AS name,
       LOWER(COALESCE(`after`.email, `before`.email)) AS email,
       `op`,
       `timestamp` AS event_time
FROM users_cdc
WHERE `timestamp` IS NOT NULL AND COALESCE(`after`.id, `before`.id) IS NOT NULL;

CREATE VIEW v_on_time AS
SELECT * FROM v_rows
WHERE CURRENT_WATERMARK(event_time) IS NULL OR event_time > CURRENT_WATERMARK(event_time);

CREATE VIEW v_late AS
SELECT * FROM v_rows WHERE event_time <= CURRENT_WATERMARK(event_time);

CREATE VIEW v_latest AS
SELECT id, name, email, op, event_time
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY event_time DESC) AS place FROM v_on_time)
WHERE place = 1;

EXECUTE STATEMENT SET BEGIN
INSERT INTO migrated_users
SELECT id, name, email, op, CAST(event_time AS TIMESTAMP(3)) FROM v_latest;
INSERT INTO user_counts
SELECT window_start, op, COUNT(*)
FROM TABLE(TUMBLE(TABLE v_on_time, DESCRIPTOR(event_time), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, op;
INSERT INTO users_cdc_dlq SELECT id, name, email, op, event_time FROM v_late;
END;
