"""Random kills under load: SQLite ends equal to the source."""
from tr.kills import ToSqlite


class RandomToSqlite(ToSqlite):
    def test_random_kills(self):
        self.random_kills()
