"""Random kills under load: the target database ends equal to the source."""
from tr.kills import ToPostgres


class RandomToPostgres(ToPostgres):
    def test_random_kills(self):
        self.random_kills()
