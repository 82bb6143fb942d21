import json
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from leaderboard.child import LINE, LINES, TAIL, Ended, run_child
from leaderboard.confinement import Limits

LIMITS = Limits(memory=1 << 30, cpu=60, wall=60)
CONFINE = """
import json, os, sys
from pathlib import Path
from leaderboard.confinement import Limits, confine, of_the_program
said = json.load(sys.stdin)
limits = Limits(**said["limits"])
lacking = confine(
    limits,
    readable=[*of_the_program(), *map(Path, said["readable"])],
    writable=[Path(said["out"]), Path(os.devnull)],
    parent=os.getppid(),
)
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: namespaces, Landlock")


def ran(
    code: str,
    folder: Path,
    *,
    limits: Limits = LIMITS,
    readable: tuple[Path, ...] = (),
    stop: Callable[[], bool] = lambda: False,
    confined: bool = True,
) -> tuple[Ended, list[str]]:
    """Runs code, after confining itself; returns how it ended and what it printed."""
    (folder / "out").mkdir(parents=True, exist_ok=True)
    order = {
        "limits": {"memory": limits.memory, "cpu": limits.cpu, "wall": limits.wall},
        "readable": [str(path) for path in readable],
        "out": str(folder / "out"),
    }
    heard: list[str] = []
    program = (CONFINE if confined else "") + textwrap.dedent(code)
    ended = run_child(
        ["-c", program], json.dumps(order), limits, folder=folder, heard=heard.append, stop=stop
    )
    return ended, heard


def test_what_a_child_prints_is_heard_line_by_line(tmp_path: Path) -> None:
    ended, heard = ran(
        "print('one'); print('two'); __import__('time').sleep(0.5); sys.exit(7)", tmp_path
    )
    assert (ended.code, ended.signal, ended.killed) == (7, "", "")
    assert heard == ["one", "two"]
    assert ended.memory > 0


def test_endless_output_takes_no_memory(tmp_path: Path) -> None:
    code = """
    import sys
    print("x" * (200 << 20))
    for i in range(5000): print(i)
    sys.stderr.write("y" * (50 << 20)); sys.stderr.write("the end")
    """
    before = psutil.Process().memory_info().rss
    ended, heard = ran(code, tmp_path)
    assert psutil.Process().memory_info().rss - before < 64 << 20
    assert ended.code == 0
    assert len(heard) == LINES - 1
    assert all(len(line) <= LINE for line in heard)
    assert len(ended.tail) <= TAIL and ended.tail.endswith("the end")


def test_a_child_that_takes_too_much_memory_is_killed(tmp_path: Path) -> None:
    code = """
    import time
    kept = []
    while True:
        kept.append(bytearray(os.urandom(1 << 20) * 8)); time.sleep(0.002)
    """
    limits = Limits(memory=200 << 20, cpu=60, wall=60)
    ended, _ = ran(code, tmp_path, limits=limits)
    assert (ended.killed, ended.signal) == ("memory", "SIGKILL")
    assert ended.memory < 1 << 30


def test_a_process_that_a_child_starts_counts_and_dies_with_it(tmp_path: Path) -> None:
    code = """
    import subprocess, time
    hog = "import time; kept = bytearray(b'x') * (300 << 20); time.sleep(60)"
    print(subprocess.Popen([sys.executable, "-c", hog]).pid)
    time.sleep(60)
    """
    limits = Limits(memory=200 << 20, cpu=60, wall=60)
    ended, heard = ran(code, tmp_path, limits=limits)
    assert ended.killed == "memory"
    _until(lambda: not _lives(int(heard[0])))


def test_a_sudden_demand_is_refused_before_anybody_looks(tmp_path: Path) -> None:
    code = """
    try:
        bytearray(8 << 30)
    except MemoryError:
        print("refused")
    """
    ended, heard = ran(code, tmp_path)
    assert (ended.code, heard) == (0, ["refused"])


def test_a_child_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    limits = Limits(memory=1 << 30, cpu=60, wall=0.5)
    ended, _ = ran("import time; time.sleep(60)", tmp_path, limits=limits)
    assert ended.killed == "time"


def test_cpu_time_is_limited(tmp_path: Path) -> None:
    limits = Limits(memory=1 << 30, cpu=0.2, wall=120)
    ended, _ = ran("while True: pass", tmp_path, limits=limits)
    assert ended.signal in ("SIGXCPU", "SIGKILL")
    assert ended.killed == ""


def test_a_child_is_killed_when_it_is_to_stop(tmp_path: Path) -> None:
    asked = iter([False, False, True])
    ended, _ = ran("import time; time.sleep(60)", tmp_path, stop=lambda: next(asked, True))
    assert ended.killed == "stopped"


def test_an_abort_is_told_by_name_and_dumps_no_core(tmp_path: Path) -> None:
    ended, _ = ran("os.chdir(said['out']); os.abort()", tmp_path)
    assert ended.signal == "SIGABRT"
    assert list((tmp_path / "out").iterdir()) == []


def test_nothing_of_our_environment_reaches_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZAPEVAL_DATABASE", "postgresql://secret@host/board")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    _, heard = ran("print(json.dumps(dict(os.environ)))", tmp_path)
    assert "secret" not in heard[0]
    assert json.loads(heard[0])["TMPDIR"] == str(tmp_path)


@linux
def test_a_child_has_no_network(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"""
        import socket
        try:
            socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), 2)
            print("connected")
        except OSError as error:
            print(type(error).__name__)
        """
        _, heard = ran(code, tmp_path)
        _, open_door = ran(code, tmp_path, confined=False)
    assert heard in (["ConnectionRefusedError"], ["PermissionError"], ["OSError"])
    assert open_door == ["connected"]


@linux
def test_a_child_reads_and_writes_what_it_was_given_alone(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "zarr.json").write_text("{}")
    (tmp_path / "secret").write_text("key")
    code = f"""
    def tried(what):
        try:
            return what() and "done" or "done"
        except OSError as error:
            return type(error).__name__
    store, out, secret = Path({str(store)!r}), Path(said["out"]), Path({str(tmp_path / "secret")!r})
    print(json.dumps([
        tried(lambda: (store / "zarr.json").read_text()),
        tried(lambda: (store / "zarr.json").write_text("x")),
        tried(lambda: (store / "zarr.json").unlink()),
        tried(lambda: (store / "new").write_text("x")),
        tried(lambda: secret.read_text()),
        tried(lambda: (out / "a").write_text("x")),
        tried(lambda: (out / "a").rename(out / "b")),
        tried(lambda: Path(os.devnull).write_text("x")),
        tried(lambda: (out / "link").symlink_to(secret)),
        tried(lambda: (out / "link").read_text()),
        lacking,
    ]))
    """
    ended, heard = ran(code, tmp_path / "work", readable=(store,))
    assert ended.code == 0, ended.tail
    found = json.loads(heard[0])
    no, yes = "PermissionError", "done"
    assert found == [yes, no, no, no, no, yes, yes, yes, yes, no, []]


@linux
def test_a_child_dies_with_its_worker(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    program = textwrap.dedent(
        f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from test_child import ran
        ran("import time; print(os.getpid(), flush=True); "
            "Path(said['out'], 'pid').write_text(str(os.getpid())); time.sleep(60)",
            Path({str(tmp_path / "work")!r}))
        """
    )
    worker = subprocess.Popen([sys.executable, "-c", program])
    try:
        file = tmp_path / "work" / "out" / "pid"
        _until(lambda: file.is_file() and bool(file.read_text()))
        child = int(file.read_text())
        assert _lives(child)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    _until(lambda: not _lives(child))


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _until(what: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "did not come about"
        time.sleep(0.05)


def test_it_is_a_group_of_its_own(tmp_path: Path) -> None:
    _, heard = ran("print(os.getpgid(0) == os.getpid())", tmp_path)
    assert heard == ["True"]
