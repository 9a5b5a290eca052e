"""kill -9 at every failpoint of the source, the engine, the checkpoint and the SQLite sink."""
from tr.kills import ToSqlite


class CrashSqlite(ToSqlite):
    def test_before_the_slot_exists(self):
        self.kill_at("source.postgres.before_slot", (1, 1))

    def test_after_the_slot_was_made(self):
        self.kill_at("source.postgres.after_slot", (1, 1))

    def test_in_mid_copy(self):
        self.kill_at("source.postgres.mid_copy", (1, 3, 2))

    def test_after_the_copy(self):
        self.kill_at("source.postgres.after_copy")

    def test_before_an_acknowledgement(self):
        self.kill_at("source.postgres.before_ack", (1, 3))

    def test_in_mid_batch(self):
        self.kill_at("sink.sqlite.mid_batch", (1, 4, 9))

    def test_before_a_commit(self):
        self.kill_at("sink.sqlite.before_commit", (1, 2, 6))

    def test_after_a_commit(self):
        self.kill_at("sink.sqlite.after_commit", (1, 2, 6))

    def test_before_a_checkpoint(self):
        self.kill_at("engine.before_checkpoint", (1, 4))

    def test_before_the_checkpoint_is_written(self):
        self.kill_at("checkpoint.before_write", (1, 4))

    def test_between_checkpoint_write_and_rename(self):
        self.kill_at("checkpoint.before_rename", (1, 4))

    def test_after_the_checkpoint_rename(self):
        self.kill_at("checkpoint.after_rename", (1, 4))

    def test_between_checkpoint_and_acknowledgement(self):
        self.kill_at("engine.after_checkpoint", (1, 4))

    def test_while_draining(self):
        self.kill_in_drain("engine.drain")

    def test_a_snapshot_resumes_by_chunks(self):
        """Chunks that were done are not copied again."""
        run_ = self.prepare()
        self.db.execute("insert into ledger select -i, 0, 0, i, repeat('more', 25), now() "
                        "from generate_series(10000, 60000) i")
        from tr import sqlite_query, wait_equal
        # Slowed down, so that the sink keeps pace with the reader.
        run_.start(failpoint="source.postgres.mid_copy=kill@40,source.postgres.mid_copy=sleep:20")
        self.assertEqual(run_.wait_exit(60), -9, run_.tail())
        self.wait_slot()
        done = sqlite_query(self.target, "select count(*) from ledger")[0][0]
        run_.start()
        wait_equal(lambda: self.holds(None), run_, 60)
        self.wait(lambda: run_.status()["snapshot"]["running"] is False, run_)
        copied = run_.status()["tables"][0]["reads"]
        total = self.db.value("select count(*) from ledger")
        self.assertGreater(done, 0, "nothing was committed before the kill")
        self.assertLess(copied, total, "the copy began anew: %d of %d rows" % (copied, total))
