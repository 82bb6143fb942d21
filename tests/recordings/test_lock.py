from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zapeval.errors import Refused, StorageError
from zapeval.recordings.lock import lock, locked

HOLD = """
import sys, time
from pathlib import Path
from zapeval.recordings.lock import lock
held = lock(Path(sys.argv[1]), "training")
print("held", flush=True)
time.sleep(60)
"""


def descriptors():
    return len(list(Path("/dev/fd").iterdir()))


def test_folder_is_made_and_stays(tmp_path):
    folder = tmp_path / "a" / "b"
    with locked(folder, "training"):
        assert folder.is_dir()
    assert folder.is_dir()


def test_second_run_is_refused_and_told_what_runs(tmp_path):
    with (
        locked(tmp_path / "a", "training"),
        pytest.raises(Refused, match=r"a: another forecast is writing it; wait until it ends"),
        locked(tmp_path / "a", "forecast"),
    ):
        pass


def test_lock_ends_with_the_block_however_that_ends(tmp_path):
    with pytest.raises(KeyboardInterrupt), locked(tmp_path / "a", "training"):
        raise KeyboardInterrupt
    with locked(tmp_path / "a", "training"):
        pass


def test_folders_are_locked_one_by_one(tmp_path):
    with locked(tmp_path / "a", "training"), locked(tmp_path / "b", "training"):
        pass


def test_a_refused_run_leaks_no_descriptor(tmp_path):
    with locked(tmp_path / "a", "training"):
        before = descriptors()
        for _ in range(5):
            with pytest.raises(Refused):
                lock(tmp_path / "a", "training")
        assert descriptors() == before


def test_another_process_holds_it_until_it_is_killed(tmp_path):
    folder = tmp_path / "a"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    ) as other:
        try:
            assert other.stdout.readline() == "held\n"
            with pytest.raises(Refused):
                lock(folder, "training")
        finally:
            other.send_signal(signal.SIGKILL)
        other.wait(timeout=60)
    os.close(lock(folder, "training"))


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/a: could not be made: Not a directory"):
        lock(tmp_path / "file" / "a", "training")
    with pytest.raises(StorageError, match=r"file: could not be made: File exists"):
        lock(tmp_path / "file", "training")


@pytest.mark.parametrize("again", [False, True])
def test_folder_that_another_run_just_finished_is_not_taken_for_ours(tmp_path, monkeypatch, again):
    folder, flock = tmp_path / ".a.part", fcntl.flock

    def finish_first(descriptor, how):
        folder.rename(tmp_path / "a")
        if again:
            folder.mkdir()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", finish_first)
    with pytest.raises(Refused, match="another training has just ended; repeat the command"):
        lock(folder, "training")
    monkeypatch.undo()
    os.close(lock(tmp_path / "a", "training"))
