"""A Dask cluster of real processes gives the bits of one process, whatever happens to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import CONTEXT, Case, horizon_case, worms_case
from cli.tiny import write_benchmark, write_predictions
from distributed import Client
from servers import free_port, running

from zapeval.errors import InvalidInput, NotFound, Refused, StorageError, UsageError
from zapeval.forecasting.predictions import open_predictions
from zapeval.recordings.stores import open_store
from zapeval.scoring.cluster import AHEAD, Cluster
from zapeval.scoring.parcel import pack, run_parcel, unpack
from zapeval.scoring.score import plan, score
from zapeval.scoring.tally import write_window_sums
from zapeval.scoring.task import Task, run_task

NEVER_TOLD = ("seconds",)


class Dask:
    """A scheduler, and as many workers as a test needs; each is a process with one thread."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address
        self.folder = folder
        self.client = Client(address, set_as_default=False)
        self.workers: list[subprocess.Popen[bytes]] = []
        self.pids: dict[str, int] = {}

    def resize(self, count: int, *, path: Path | None = None) -> list[subprocess.Popen[bytes]]:
        """Starts or kills workers until there are so many; path comes first on their sys.path."""
        for worker in self.workers[count:]:
            worker.kill()
            worker.wait()
        self.workers = [worker for worker in self.workers[:count] if worker.poll() is None]
        while len(self.workers) < count:
            self.workers.append(self._start(path))
        until(lambda: len(self.client.nthreads()) == count)
        self.pids = self.client.run(os.getpid)
        return self.workers

    def busy(self) -> dict[int, int]:
        """Returns how many tasks each worker has under way, by process id."""
        found = self.client.processing()
        return {self.pids[address]: len(keys) for address, keys in found.items()}

    def close(self) -> None:
        self.client.close()
        for worker in self.workers:
            worker.kill()
            worker.wait()

    def _start(self, path: Path | None) -> subprocess.Popen[bytes]:
        options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
        program = [sys.executable, "-W", "ignore", "-m", "distributed.cli.dask_worker"]
        return subprocess.Popen(
            [*program, self.address, *options, "--local-directory", str(self.folder)],
            cwd=self.folder,  # not that of the command: relative paths would lead elsewhere
            env=os.environ | ({} if path is None else {"PYTHONPATH": str(path)}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@contextmanager
def scheduling(folder: Path, **variables: str) -> Iterator[Dask]:
    port = free_port()
    options = ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    said = [f"{name}={value}" for name, value in variables.items()]
    program = [sys.executable, "-W", "ignore", "-m", "distributed.cli.dask_scheduler"]
    with running(port, "env", *said, *program, *options):
        dask = Dask(f"tcp://127.0.0.1:{port}", folder)
        try:
            yield dask
        finally:
            dask.close()


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    with scheduling(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster


@pytest.fixture
def dask_alone(tmp_path: Path) -> Iterator[Dask]:
    """A scheduler of a test's own, which gives a task up when one worker dies of it."""
    with scheduling(tmp_path, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as cluster:
        yield cluster


def until(what: Callable[[], Any], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "did not come about"
        time.sleep(0.05)


def long_case(**options: Any) -> Case:
    """Returns a case of 24 tasks."""
    return horizon_case(horizon=32, windows=(9, 4, 11), **options)


def bits(case: Case, folder: Path, **options: Any) -> tuple[str, bytes]:
    """Returns a case's scorecard but for the time it took, and its sums as they are kept."""
    card, tally = case.score(folder, **options)
    document = json.loads(card.to_json())
    for key in NEVER_TOLD:
        del document[key]
    file = folder / "sums.npz"
    write_window_sums(tally, case.benchmark, file)
    return json.dumps(document), file.read_bytes()


CASES = {
    "plain": long_case,
    "masked": lambda: long_case(mask=(True, False, True, True, False, True, True), seed=9),
    "worms": worms_case,
}


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("name", CASES)
def test_any_number_of_workers_gives_the_bits_of_one_process(dask, tmp_path, name, workers):
    case = CASES[name]()
    dask.resize(workers)
    alone = bits(case, tmp_path, intervals="all")
    with Cluster(dask.address) as cluster:
        assert bits(case, tmp_path, intervals="all", run=cluster.map) == alone


def test_every_worker_takes_part(dask, tmp_path):
    workers = dask.resize(2)
    told: set[int] = set()
    with Cluster(dask.address) as cluster:
        long_case().score(
            tmp_path,
            run=cluster.map,
            progress=lambda _: told.update(pid for pid, count in dask.busy().items() if count),
        )
    assert told == {worker.pid for worker in workers}


def test_worker_killed_in_the_middle_changes_nothing(dask, tmp_path):
    case = long_case(seed=1)
    alone = bits(case, tmp_path)
    victim, _ = dask.resize(2)
    held: list[int] = []

    def kill() -> None:
        # Stopped first, so that it surely dies with tasks in hand.
        try:
            until(lambda: dask.busy().get(victim.pid))
            held.append(dask.busy()[victim.pid])
        finally:
            victim.kill()

    def progress(_: int) -> None:
        if not killer.ident:
            victim.send_signal(signal.SIGSTOP)
            killer.start()

    killer = threading.Thread(target=kill)
    with Cluster(dask.address) as cluster:
        found = bits(case, tmp_path, run=cluster.map, progress=progress)
    killer.join()
    assert held
    assert held[0] > 0
    assert victim.wait() == -signal.SIGKILL
    assert found == alone


def test_few_tasks_are_under_way_at_a_time(dask, tmp_path):
    (worker,) = dask.resize(1)
    case = long_case()
    tasks = plan_of(case, tmp_path)
    with Cluster(dask.address) as cluster:
        worker.send_signal(signal.SIGSTOP)
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.extend(cluster.map(run_task, tasks)))
        thread.start()
        try:
            until(lambda: sum(dask.busy().values()))
            time.sleep(0.5)
            assert sum(dask.busy().values()) == AHEAD
        finally:
            worker.send_signal(signal.SIGCONT)
            thread.join()
    assert len(results) == len(tasks) == 24


def test_the_first_wrong_task_is_told_as_one_process_tells_it(dask, tmp_path):
    case = long_case(seed=2)
    values = {name: array.copy() for name, array in case.values.items()}
    values["test_condition_2"][0, 0, 0] = np.inf
    values["test_condition_0"][3, 30, 1] = np.inf
    case = replace(case, values=values)
    predictions, recordings = opened(case, tmp_path)
    with pytest.raises(InvalidInput) as alone:
        score(predictions, case.benchmark, recordings, context=CONTEXT)
    dask.resize(2)
    with Cluster(dask.address) as cluster, pytest.raises(InvalidInput) as caught:
        score(predictions, case.benchmark, recordings, context=CONTEXT, run=cluster.map)
    assert str(caught.value) == str(alone.value)
    assert caught.value.findings == alone.value.findings


def test_maps_are_written_by_the_workers(dask, tmp_path):
    case = long_case(seed=3)
    dask.resize(2)
    case.score(tmp_path, maps=open_store(tmp_path / "alone.zarr"))
    with Cluster(dask.address) as cluster:
        case.score(tmp_path, maps=open_store(tmp_path / "cluster.zarr"), run=cluster.map)
    assert tree(tmp_path / "cluster.zarr") == tree(tmp_path / "alone.zarr")


def test_command_takes_relative_paths_and_writes_the_same_files(dask, tmp_path):
    dask.resize(2)
    write_benchmark(tmp_path)
    write_predictions(tmp_path / "p")
    for out, options in {"alone": (), "cluster": ("--dask", dask.address)}.items():
        (tmp_path / out).mkdir()
        command = ["score", "p", "-b", "tiny.toml", "-c", "2", "--quiet", *options]
        files = ["--json", f"{out}/card.json", "--maps", f"{out}/maps.zarr"]
        done = zapeval(*command, *files, folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        document = json.loads((tmp_path / out / "card.json").read_text())
        del document["seconds"]
        (tmp_path / out / "card.json").write_text(json.dumps(document))
    assert tree(tmp_path / "cluster") == tree(tmp_path / "alone")


def test_workers_open_a_store_by_its_address(dask, tmp_path):
    case = long_case(seed=4)
    predictions, recordings = opened(case, tmp_path)
    alone, _ = score(predictions, case.benchmark, recordings, context=CONTEXT)
    port = free_port()
    serve = ["-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(tmp_path)]
    dask.resize(2)
    with running(port, sys.executable, *serve) as address, Cluster(dask.address) as cluster:
        remote = open_predictions(f"{address}/predictions", tuple(case.values))
        card, _ = score(remote, case.benchmark, recordings, context=CONTEXT, run=cluster.map)
    assert (card.scores, card.predictions) == (alone.scores, alone.predictions)


# What can be wrong


def test_scheduler_that_does_not_answer_is_not_found():
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(NotFound, match=f"{address}: no Dask scheduler answers there: .*start one"):
        Cluster(address, connect=0.5).__enter__()


@pytest.mark.parametrize(
    "address",
    ["here://there:1", "", "localhost", "tcp://127.0.0.1:x", "tcp://a:1\n", "scheduler.json"],
)
def test_address_that_is_none_is_a_usage_error(address):
    with pytest.raises(UsageError, match="is no address of a scheduler; expected tcp://host:port"):
        Cluster(address)


def test_cluster_without_workers_says_how_to_start_some(dask):
    dask.resize(0)
    with pytest.raises(
        NotFound, match=f"no worker for 0.5 s; start some with `dask worker {dask.address}`"
    ):
        Cluster(dask.address, patience=0.5).__enter__()


def test_worker_of_another_version_is_refused(dask, tmp_path):
    pretend(tmp_path, "zapeval", "99.1")
    dask.resize(0)
    dask.resize(1, path=tmp_path)
    try:
        with pytest.raises(Refused, match=r"worker tcp\S+: runs 99\.1, but the command is zapeval"):
            Cluster(dask.address).__enter__()
    finally:
        dask.resize(0)


def test_scheduler_of_another_version_is_refused(tmp_path):
    pretend(tmp_path / "site", "zapeval", "99.3")
    with (
        scheduling(tmp_path, PYTHONPATH=str(tmp_path / "site")) as dask,
        pytest.raises(Refused, match=r"the scheduler: runs 99\.3, but the command is zapeval"),
    ):
        dask.resize(1)
        Cluster(dask.address).__enter__()


def test_worker_with_another_library_is_refused(dask, tmp_path):
    pretend(tmp_path, "blake3", "99.2")
    dask.resize(0)
    dask.resize(1, path=tmp_path)
    try:
        with (
            Cluster(dask.address) as cluster,
            pytest.raises(Refused, match=r"runs blake3 99\.2, but the command blake3 \d"),
        ):
            long_case().score(tmp_path, run=cluster.map)
    finally:
        dask.resize(0)


def test_store_that_workers_do_not_see_is_named_with_the_worker(dask, tmp_path):
    dask.resize(1)
    tasks = plan_of(long_case(), tmp_path)
    shutil.move(tmp_path / "predictions", tmp_path / "elsewhere")
    with (
        Cluster(dask.address) as cluster,
        pytest.raises(NotFound, match=r"worker tcp\S+: .*/predictions/test_condition_0.*gs://"),
    ):
        list(cluster.map(run_task, tasks))


def test_last_worker_lost_in_the_middle_ends_the_run(dask, tmp_path):
    (worker,) = dask.resize(1)
    with (
        Cluster(dask.address, patience=0.5) as cluster,
        pytest.raises(NotFound, match="has had no worker"),
    ):
        long_case().score(tmp_path, run=cluster.map, progress=lambda _: worker.kill())


def test_last_worker_lost_with_the_last_tasks_ends_the_run(dask, tmp_path):
    (worker,) = dask.resize(1)
    tasks = plan_of(long_case(), tmp_path)[:AHEAD]
    with Cluster(dask.address, patience=0.5) as cluster:
        worker.send_signal(signal.SIGSTOP)
        threading.Timer(0.5, worker.kill).start()
        with pytest.raises(NotFound, match="has had no worker"):
            list(cluster.map(run_task, tasks))


def test_scheduler_lost_in_the_middle_ends_the_run(dask_alone, tmp_path):
    dask_alone.resize(1)
    pid = dask_alone.client.run_on_scheduler(os.getpid)
    told: list[int] = []

    def progress(done: int) -> None:
        if not told:
            os.kill(pid, signal.SIGKILL)
        told.append(done)

    with (
        Cluster(dask_alone.address) as cluster,
        pytest.raises(Refused, match="the scheduler went away; start it again, and score again"),
    ):
        long_case().score(tmp_path, run=cluster.map, progress=progress)
    assert len(told) < 24


def test_task_that_workers_die_of_ends_the_run(dask_alone, tmp_path, monkeypatch):
    (tmp_path / "deadly.py").write_text("import os\n\n\ndef work(task):\n    os._exit(1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    import deadly  # type: ignore[import-not-found]

    dask_alone.resize(1, path=tmp_path)
    with (
        Cluster(dask_alone.address) as cluster,
        pytest.raises(Refused, match="1 workers died one after the other of the same task"),
    ):
        list(cluster.map(deadly.work, plan_of(long_case(), tmp_path)))


def test_command_with_workers_and_a_cluster_is_a_usage_error(tmp_path):
    done = zapeval("score", "p", "--workers", "2", "--dask", "tcp://127.0.0.1:1", folder=tmp_path)
    assert done.returncode == 2
    assert "leave it out with --dask" in done.stderr


# What is sent


def test_parcel_is_small_and_so_are_its_cells(tmp_path):
    case = horizon_case(neurons=20_000, horizon=1, mask=(True,) * 20_000)
    (task, *_) = plan_of(case, tmp_path)
    parcel = pack(run_task, task)
    # A bit a neuron would be 2,500 bytes; the mask is a byte each, and there is one of them.
    assert len(parcel.contents) < 30_000
    assert len(run_parcel(parcel, "here")) < 2_000


def test_parcel_gives_the_cells_of_its_task(tmp_path):
    for task in plan_of(worms_case(), tmp_path):
        (here,) = run_task(task)
        (there,) = unpack(run_parcel(pack(run_task, task), "here"))
        for name, value in vars(here).items():
            np.testing.assert_array_equal(getattr(there, name), value)


def test_other_store_at_the_place_of_a_parcel_is_refused(tmp_path):
    task = plan_of(horizon_case(), tmp_path)[0]
    parcel = pack(run_task, task)
    horizon_case(neurons=8).predictions(tmp_path / "other")
    shutil.rmtree(tmp_path / "predictions")
    shutil.move(tmp_path / "other", tmp_path / "predictions")
    with pytest.raises(InvalidInput, match=r"\[9, 5, 8\].* on worker W, but .*\[9, 5, 7\]"):
        run_parcel(parcel, "W")


def test_missing_chunk_is_told_as_in_one_process(tmp_path):
    task = plan_of(horizon_case(), tmp_path)[0]
    parcel = pack(run_task, task)
    (tmp_path / "predictions" / "test_condition_0" / "0.1.0").unlink()
    with pytest.raises(StorageError) as alone:
        run_task(task)
    with pytest.raises(StorageError) as caught:
        run_parcel(parcel, "W")
    assert str(caught.value) == str(alone.value)


def opened(case: Case, folder: Path) -> tuple[Any, Any]:
    return case.predictions(folder / "predictions"), case.recordings(folder / "recordings")


def plan_of(case: Case, folder: Path) -> list[Task]:
    predictions, recordings = opened(case, folder)
    return plan(predictions, case.benchmark, recordings, missing="strict", digest=True, maps=None)


def pretend(site: Path, name: str, version: str) -> None:
    """Makes a folder in which a package is said to be installed in another version."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def zapeval(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zapeval", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
