"""kill -9 at the failpoints that matter to the file sink."""
from tr.kills import ToFiles


class CrashFile(ToFiles):
    def test_in_mid_copy(self):
        self.kill_at("source.postgres.mid_copy", (2,))

    def test_before_publishing(self):
        self.kill_at("sink.file.before_publish", (1, 2, 4))

    def test_after_publishing(self):
        self.kill_at("sink.file.after_publish", (1, 2, 4))

    def test_before_the_manifest(self):
        self.kill_at("sink.file.before_manifest", (1, 2, 4))

    def test_after_the_manifest(self):
        self.kill_at("sink.file.after_manifest", (1, 2, 4))

    def test_between_checkpoint_and_acknowledgement(self):
        self.kill_at("engine.after_checkpoint", (3,))
