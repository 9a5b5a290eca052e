"""kill -9 at the failpoints that matter to the PostgreSQL sink."""
from tr.kills import ToPostgres


class CrashPostgres(ToPostgres):
    def test_in_mid_copy(self):
        self.kill_at("source.postgres.mid_copy", (1, 3))
        self.assertIn("tables=1 binary=1", self.run_.all_text())

    def test_in_mid_batch(self):
        self.kill_at("sink.postgres.mid_batch", (1, 4))

    def test_before_a_commit(self):
        self.kill_at("sink.postgres.before_commit", (1, 2, 6))

    def test_after_a_commit(self):
        self.kill_at("sink.postgres.after_commit", (1, 2, 6))

    def test_between_checkpoint_write_and_rename(self):
        self.kill_at("checkpoint.before_rename", (2,))

    def test_between_checkpoint_and_acknowledgement(self):
        self.kill_at("engine.after_checkpoint", (3,))

    def test_while_draining(self):
        self.kill_in_drain("engine.drain")


class CrashPostgresText(ToPostgres):
    """The target has a column of another type, so that the copy goes as text and not as binary tuples."""

    def sink(self):
        self.target = self.database("create table ledger (id numeric primary key, v int not null, "
                                    "owner int not null, amount numeric(20,4) not null, note text, "
                                    "at timestamptz not null)")
        return self.target.sink()

    def test_in_mid_copy(self):
        self.kill_at("source.postgres.mid_copy", (1, 3))
        self.assertIn("tables=1 binary=0", self.run_.all_text())

    def test_after_a_commit(self):
        self.kill_at("sink.postgres.after_commit", (1, 2, 6))
