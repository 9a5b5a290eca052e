"""Random kills under load: each change once under read_committed; at-least-once loses nothing."""
from tr.kills import ToKafka, ToKafkaAtLeastOnce


class RandomToKafka(ToKafka):
    def test_random_kills(self):
        self.random_kills()


class RandomToKafkaAtLeastOnce(ToKafkaAtLeastOnce):
    def test_random_kills(self):
        self.random_kills()
