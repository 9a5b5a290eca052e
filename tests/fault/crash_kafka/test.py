"""kill -9 at the failpoints that matter to the Kafka sink, for both guarantees."""
from tr.kills import ToKafka, ToKafkaAtLeastOnce


class CrashKafka(ToKafka):
    def test_in_mid_copy(self):
        self.kill_at("source.postgres.mid_copy", (1,))

    def test_in_mid_batch(self):
        self.kill_at("sink.kafka.mid_batch", (1, 5))

    def test_before_a_commit(self):
        self.kill_at("sink.kafka.before_commit", (1, 4))

    def test_after_a_commit(self):
        self.kill_at("sink.kafka.after_commit", (1, 4))

    def test_between_checkpoint_and_acknowledgement(self):
        self.kill_at("engine.after_checkpoint", (3,))


class CrashKafkaAtLeastOnce(ToKafkaAtLeastOnce):
    def test_in_mid_batch(self):
        self.kill_at("sink.kafka.mid_batch", (1, 5))

    def test_between_checkpoint_write_and_rename(self):
        self.kill_at("checkpoint.before_rename", (2,))
