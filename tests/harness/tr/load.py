"""Writers that keep a source busy, and that know every change they have committed."""
import random
import threading
import time

import psycopg2

LEDGER = """
create table {name} (id bigint primary key, v int not null, owner int not null,
                     amount numeric(20,4) not null, note text, at timestamptz not null default now());
"""
ACCOUNTS = """
create table accounts (id int primary key, balance bigint not null);
insert into accounts select i, 1000 from generate_series(1, 50) i;
"""
ACCOUNTS_SUM = 50 * 1000


class Load(threading.Thread):
    """Random transactions on a LEDGER table (and ACCOUNTS when it is there): inserts, updates, deletes,
    key changes, several statements, savepoints, rollbacks. One writer owns the ids with
    id % writers == number, so `changes` is the exact history of each id in order:
    (op, id, v), added after the commit. With key changes, a change of id a to b is a 'd' of a with its
    last v and a 'c' of b."""

    def __init__(self, db, table="ledger", seed=1, number=0, writers=1, pause=0.0, key_changes=True,
                 accounts=False, rows_max=20):
        super().__init__(daemon=True)
        self.db, self.table = db, table
        self.random = random.Random(seed * 1000 + number)
        self.number, self.writers = number, writers
        self.pause, self.key_changes, self.accounts = pause, key_changes, accounts
        self.rows_max = rows_max
        self.changes = []
        self.committed = 0        # transactions
        self.rows = {}            # id → v
        self.next = number or writers
        self.error = None
        self._stop_event = threading.Event()

    def stop(self):
        self._stop_event.set()
        self.join(60)
        assert not self.is_alive(), "the load writer does not end"
        if self.error is not None:
            raise self.error

    def run(self):
        try:
            conn = self.db.connect()
            conn.autocommit = False
            with conn.cursor() as cursor:
                while not self._stop_event.is_set():
                    try:
                        self._transaction(conn, cursor)
                    except psycopg2.errors.DeadlockDetected:
                        conn.rollback()
                    if self.pause:
                        time.sleep(self.pause)
            conn.close()
        except Exception as error:  # handed to stop()
            self.error = error

    def _transaction(self, conn, cursor):
        rows, changes = dict(self.rows), []
        next_before = self.next
        for _ in range(self.random.randint(1, 4)):
            savepoint = self.random.random() < 0.15
            if savepoint:
                kept, kept_changes = dict(rows), list(changes)
                cursor.execute("savepoint s")
            self._statement(cursor, rows, changes)
            if savepoint and self.random.random() < 0.5:
                cursor.execute("rollback to savepoint s")
                rows, changes = kept, kept_changes
        if self.accounts and self.random.random() < 0.5:
            a, b = sorted(self.random.sample(range(1, 51), 2))
            amount = self.random.randint(-100, 100)
            cursor.execute("update accounts set balance = balance - %s where id = %s", (amount, a))
            cursor.execute("update accounts set balance = balance + %s where id = %s", (amount, b))
        if self.random.random() < 0.1:
            conn.rollback()
            self.next = max(self.next, next_before)
            return
        conn.commit()
        self.rows = rows
        self.changes += changes
        self.committed += 1

    def _statement(self, cursor, rows, changes):
        choice = self.random.random()
        if choice < 0.45 or len(rows) < 20:
            count = self.random.randint(1, self.rows_max)
            ids = [self.next + i * self.writers for i in range(count)]
            self.next += count * self.writers
            cursor.execute(
                "insert into %s select i, 0, %%s, i * 1.0001, repeat('x', %%s) || i "
                "from unnest(%%s::bigint[]) i" % self.table,
                (self.number, self.random.randint(0, 60), ids))
            for key in ids:
                rows[key] = 0
                changes.append(("c", key, 0))
        elif choice < 0.85:
            ids = self.random.sample(sorted(rows), min(len(rows), self.random.randint(1, 10)))
            # One statement a row: the order of rows within an UPDATE is the server's choice.
            for key in ids:
                cursor.execute("update %s set v = v + 1, amount = amount + 0.0001 where id = %%s"
                               % self.table, (key,))
                rows[key] += 1
                changes.append(("u", key, rows[key]))
        elif choice < 0.95 or not self.key_changes:
            key = self.random.choice(sorted(rows))
            cursor.execute("delete from %s where id = %%s" % self.table, (key,))
            changes.append(("d", key, None))
            del rows[key]
        else:
            key = self.random.choice(sorted(rows))
            new = self.next
            self.next += self.writers
            cursor.execute("update %s set id = %%s, v = v + 1 where id = %%s" % self.table,
                           (new, key))
            version = rows.pop(key) + 1
            rows[new] = version
            changes.append(("d", key, None))
            changes.append(("c", new, version))


class Loads:
    """Several writers at once."""

    def __init__(self, db, table="ledger", writers=2, seed=1, **kwargs):
        self.items = [Load(db, table, seed, i, writers, **kwargs) for i in range(writers)]

    def start(self):
        for item in self.items:
            item.start()
        return self

    def stop(self):
        for item in self.items:
            item._stop_event.set()
        for item in self.items:
            item.stop()
        return self

    @property
    def committed(self):
        return sum(item.committed for item in self.items)

    @property
    def changes(self):
        return [change for item in self.items for change in item.changes]

    def errors(self):
        return [item.error for item in self.items if item.error]


class Checkpoints(threading.Thread):
    """A checkpoint of the source's server every now and then: each notes which transactions run, and a
    slot's restart_lsn goes from note to note. By itself a server makes one every 15 s."""

    def __init__(self, db, seconds=0.3):
        super().__init__(daemon=True)
        self.db, self.seconds, self._over = db, seconds, threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._over.set()
        self.join(60)

    def run(self):
        while not self._over.wait(self.seconds):
            try:
                self.db.execute("checkpoint")
            except psycopg2.Error:
                pass  # the server is away: part of some tests
