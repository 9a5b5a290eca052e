"""Random kills under load: published files hold each change once."""
from tr.kills import ToFiles


class RandomToFiles(ToFiles):
    def test_random_kills(self):
        self.random_kills()
