"""PostgreSQL to Kafka: what a consumer of Debezium's topics finds, field for field; and the flat json."""
import base64
import time

from tr import *

SOURCE_FIELDS = ["version", "connector", "name", "ts_ms", "snapshot", "db", "sequence", "ts_us", "ts_ns",
                 "schema", "table", "txId", "lsn", "xmin", "origin", "origin_lsn"]
VALUE_FIELDS = ["before", "after", "source", "transaction", "op", "ts_ms", "ts_us", "ts_ns"]


class KafkaCase(Case):
    KAFKA = True

    def start(self, sql, tables=None, source=None, pipeline=None, **sink):
        self.db = self.database(sql)
        self.name = self.unique("k")
        settings = {"type": "kafka", "properties.bootstrap.servers": self.kafka.bootstrap,
                    "value.format": "debezium-json"}
        settings.update(sink)
        self.run_ = self.pipeline(self.db.source(tables, **(source or {})), settings, name=self.name,
                                  pipeline=pipeline or {}).start()
        return self.run_

    def topic(self, table, schema="public"):
        return "%s.%s.%s" % (self.name, schema, table)

    def read(self, table, count, schema="public", **kwargs):
        """Waits for `count` messages and then makes sure that no more come."""
        topic = self.topic(table, schema)
        found = []

        def there():
            found[:] = self.kafka.read(topic, **kwargs)
            return len(found) >= count
        self.wait(there, self.run_, 30, "%d messages in %s" % (count, topic))
        self.assertEqual(len(found), count, [m.get("payload") for m in found])
        return found

    def streaming(self):
        self.wait(lambda: (self.run_.status() or {}).get("state") == "streaming", self.run_)


class Debezium(KafkaCase):
    def test_every_field(self):
        began_ms = int(time.time() * 1000)
        self.start("create table t (id int primary key, v text); insert into t values (1, 'one'), (2, 'two')")
        first, second = self.read("t", 2)
        self.streaming()
        for message in (first, second):
            value = message["v"]
            self.assertEqual(list(value), VALUE_FIELDS)
            self.assertEqual(list(value["source"]), SOURCE_FIELDS)
            self.assertEqual(value["op"], "r")
            self.assertIsNone(value["before"])
            self.assertEqual(message["k"], {"id": value["after"]["id"]})
        source = first["v"]["source"]
        self.assertEqual((source["connector"], source["name"], source["db"], source["schema"],
                          source["table"]), ("postgresql", self.name, self.db.name, "public", "t"))
        self.assertEqual([m["v"]["source"]["snapshot"] for m in (first, second)], ["first", "last"])
        self.db.statements("insert into t values (3, 'three')", "update t set v = 'drei' where id = 3",
                           "delete from t where id = 3")
        messages = self.read("t", 6)[2:]
        create, update, delete, tombstone = messages
        self.assertEqual([m["v"]["op"] for m in messages[:3]], ["c", "u", "d"])
        self.assertEqual(create["v"]["after"], {"id": 3, "v": "three"})
        self.assertIsNone(create["v"]["before"])
        self.assertEqual(update["v"]["after"], {"id": 3, "v": "drei"})
        self.assertIsNone(update["v"]["before"])
        self.assertIsNone(delete["v"]["after"])
        self.assertEqual(delete["v"]["before"]["id"], 3)
        self.assertEqual(tombstone["k"], {"id": 3})
        self.assertIsNone(tombstone["payload"])
        value = create["v"]
        source = value["source"]
        self.assertEqual(source["snapshot"], "false")
        self.assertIsInstance(source["lsn"], int)
        self.assertIsInstance(source["txId"], int)
        self.assertIsNone(source["xmin"])
        import json
        sequence = json.loads(source["sequence"])
        self.assertEqual(len(sequence), 2)
        self.assertEqual(int(sequence[1]), source["lsn"])
        for unit, factor in (("ts_us", 1000), ("ts_ns", 1000000)):
            self.assertEqual(source[unit] // factor, source["ts_ms"])
            self.assertEqual(value[unit] // factor, value["ts_ms"])
        now_ms = int(time.time() * 1000)
        self.assertTrue(began_ms - 5000 <= source["ts_ms"] <= value["ts_ms"] + 5 <= now_ms + 5, value)
        self.assertIsNone(value["transaction"])

    def test_replica_identity_full_has_the_whole_before(self):
        self.start("create table t (id int primary key, v text); alter table t replica identity full;"
                   "insert into t values (1, 'old')")
        self.read("t", 1)
        self.streaming()
        self.db.statements("update t set v = 'new'", "delete from t")
        update, delete, _ = self.read("t", 4)[1:]
        self.assertEqual(update["v"]["before"], {"id": 1, "v": "old"})
        self.assertEqual(delete["v"]["before"], {"id": 1, "v": "new"})

    def test_key_change(self):
        self.start("create table t (id int primary key, v text); insert into t values (1, 'x')")
        self.read("t", 1)
        self.streaming()
        self.db.execute("update t set id = 2 where id = 1")
        delete, tombstone, create = self.read("t", 4)[1:]
        self.assertEqual((delete["k"], delete["v"]["op"]), ({"id": 1}, "d"))
        self.assertIn("__debezium.newkey", delete["h"])
        self.assertEqual((tombstone["k"], tombstone["payload"]), ({"id": 1}, None))
        self.assertEqual((create["k"], create["v"]["op"], create["v"]["after"]),
                         ({"id": 2}, "c", {"id": 2, "v": "x"}))
        self.assertIn("__debezium.oldkey", create["h"])

    def test_no_key_and_composite_key(self):
        self.start("create table bare (a int); alter table bare replica identity full;"
                   "insert into bare values (1);"
                   "create table two (z int, b text, a int, primary key (b, a)); insert into two values (1, 'x', 2)")
        self.assertIsNone(self.read("bare", 1)[0].get("key"))
        self.assertEqual(list(self.read("two", 1)[0]["k"].items()), [("b", "x"), ("a", 2)])

    def test_unchanged_toast(self):
        self.start("create table t (id int primary key, n int, big text);"
                   "alter table t alter big set storage external;"
                   "insert into t values (1, 1, repeat('x', 10000))")
        self.read("t", 1)
        self.streaming()
        self.db.execute("update t set n = 2")
        update = self.read("t", 2)[1]
        self.assertEqual(update["v"]["after"], {"id": 1, "n": 2, "big": "__debezium_unavailable_value"})

    def test_truncate_is_skipped_unless_asked_for(self):
        self.start("create table t (id int primary key); insert into t values (1)")
        self.read("t", 1)
        self.streaming()
        self.db.statements("truncate t", "insert into t values (2)")
        self.assertEqual(self.read("t", 2)[1]["v"]["op"], "c")
        self.start("create table t (id int primary key); insert into t values (1)",
                   **{"skipped.operations": "none"})
        self.read("t", 1)
        self.streaming()
        self.db.statements("truncate t", "insert into t values (2)")
        truncate = self.read("t", 3)[1]
        self.assertEqual((truncate["v"]["op"], truncate.get("key"), truncate["v"]["before"],
                          truncate["v"]["after"]), ("t", None, None, None))

    def test_types(self):
        self.start("""
            create type mood as enum ('sad', 'ok');
            create table t (id bigint primary key, b boolean, s smallint, i int, l bigint, f4 real, f8 float8,
                n numeric(10,2), nn numeric, money money, c char(3), v varchar(10), t text, by bytea,
                d date, t3 time(3), t6 time, ttz timetz, ts3 timestamp(3), ts timestamp, tz timestamptz,
                iv interval, u uuid, j jsonb, m mood, b1 bit(1), bn bit(9), arr int[], inet inet, p point);
            insert into t values (1, true, -1, 2, 9007199254740993, 1.5, 0.1, 123.45, 1e20, '12.34', 'ab', 'var',
                'te"xt', '\\x00ff', '2024-02-29', '12:34:56.789', '12:34:56.789012', '12:00:00+02',
                '2024-02-29 12:34:56.789', '2024-02-29 12:34:56.789012', '2024-02-29 12:34:56.789012+02',
                '1 day', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": 1}', 'ok', B'1', B'101010101',
                '{1,null,3}', '10.0.0.1', '(1,2)');
            insert into t (id, ts, tz, d) values (2, 'infinity', 'infinity', null);
        """)
        rows = {m["v"]["after"]["id"]: m["v"]["after"] for m in self.read("t", 2)}
        row = rows[1]

        def decimal(text):
            return int.from_bytes(base64.b64decode(text), "big", signed=True)
        self.assertIs(row["b"], True)
        self.assertEqual((row["s"], row["i"], row["l"]), (-1, 2, 9007199254740993))
        self.assertEqual((row["f4"], row["f8"]), (1.5, 0.1))
        self.assertEqual(decimal(row["n"]), 12345)
        self.assertEqual(decimal(row["nn"]["value"]), 10 ** 20 * 10 ** row["nn"]["scale"])
        self.assertEqual(decimal(row["money"]), 1234)
        self.assertEqual((row["c"], row["v"], row["t"]), ("ab ", "var", 'te"xt'))
        self.assertEqual(base64.b64decode(row["by"]), b"\x00\xff")
        self.assertEqual(row["d"], 19782)
        self.assertEqual(row["t3"], 45296789)
        self.assertEqual(row["t6"], 45296789012)
        self.assertEqual(row["ttz"], "10:00:00Z")
        self.assertEqual(row["ts3"], 1709210096789)
        self.assertEqual(row["ts"], 1709210096789012)
        self.assertEqual(row["tz"], "2024-02-29T10:34:56.789012Z")
        self.assertEqual(row["iv"], 86400000000)
        self.assertEqual((row["u"], row["j"], row["m"]),
                         ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", '{"a": 1}', "ok"))
        self.assertIs(row["b1"], True)
        self.assertEqual(len(base64.b64decode(row["bn"])), 2)
        self.assertEqual(row["arr"], [1, None, 3])
        self.assertEqual(row["inet"], "10.0.0.1")
        self.assertEqual((row["p"]["x"], row["p"]["y"]), (1, 2))
        self.assertEqual(rows[2]["ts"], 9223372036825200000)
        self.assertTrue(all(v is None for k, v in rows[2].items() if k not in ("id", "ts", "tz")))


class Flat(KafkaCase):
    def test_json(self):
        self.start("create table t (id int primary key, v text, n numeric(10,2), j jsonb);"
                   "insert into t values (1, 'one', 1.50, '{\"a\": 1}')", **{"value.format": "json"})
        message = self.read("t", 1)[0]
        self.assertEqual(message["k"], {"id": 1})
        self.assertEqual((message["v"]["id"], message["v"]["v"], message["v"]["n"]), (1, "one", "1.50"))
        self.streaming()
        self.db.statements("update t set v = 'uno'", "delete from t")
        update, tombstone = self.read("t", 3)[1:]
        self.assertEqual(update["v"]["v"], "uno")
        self.assertIsNone(tombstone["payload"])


class Topics_(KafkaCase):
    def test_template_and_schema(self):
        self.start("create schema app; create table app.t (id int primary key); insert into app.t values (1)",
                   tables="app.t", topic="{prefix}-{schema}-{table}")
        self.wait(lambda: self.kafka.names(self.name), self.run_)
        self.assertEqual(self.kafka.names(self.name), [self.name + "-app-t"])

    def test_one_topic_for_all(self):
        name = self.unique("one_topic")
        self.start("create table a (id int primary key); create table b (id int primary key);"
                   "insert into a values (1); insert into b values (2)", topic=name)

        def both():
            return sorted(m["v"]["source"]["table"] for m in self.kafka.read(name)) == ["a", "b"]
        self.wait(both, self.run_)

    def test_same_key_same_partition(self):
        name = self.unique("parts")
        self.start("create table t (id int primary key, v int);"
                   "insert into t select i, 0 from generate_series(1, 50) i", topic=name,
                   **{"topic.partitions": 4})
        self.wait(lambda: len(self.kafka.read(name)) == 50, self.run_)
        self.streaming()
        self.db.statements("update t set v = 1", "update t set v = 2 where id % 2 = 0")
        self.wait(lambda: len(self.kafka.read(name)) == 125, self.run_)
        self.assertEqual(self.kafka.partitions(name), 4)
        places, versions = {}, {}
        for message in self.kafka.read(name):
            key = message["k"]["id"]
            places.setdefault(key, set()).add(message["partition"])
            versions.setdefault(key, []).append(message["v"]["after"]["v"])
        self.assertTrue(all(len(p) == 1 for p in places.values()), "one key in two partitions")
        self.assertGreater(len(set().union(*places.values())), 1, "all keys in one partition")
        self.assertTrue(all(v == sorted(v) for v in versions.values()), "order within a key")

    def test_custom_headers(self):
        self.start("create table t (id int primary key); insert into t values (1)",
                   **{"sink.custom-header": "team:shop,env:test",
                      "sink.add-tableId-to-header-enabled": True})
        headers = self.read("t", 1)[0]["h"]
        self.assertEqual((headers["team"], headers["env"]), ("shop", "test"))
        self.assertEqual((headers["schemaName"], headers["tableName"]), ("public", "t"))

    def test_mapping(self):
        topic = self.unique("mapped")
        db = self.database("create table t (id int primary key); insert into t values (1)")
        self.name = self.unique("k")
        self.run_ = self.pipeline(db.source(), {
            "type": "kafka", "properties.bootstrap.servers": self.kafka.bootstrap,
            "value.format": "debezium-json",
            "sink.tableId-to-topic.mapping": "%s.public.t:%s" % (db.name, topic)}).start()
        self.wait(lambda: len(self.kafka.read(topic)) == 1, self.run_)
