"""Scoring over a Dask cluster beside the same tasks in a pool of processes.

    python bench/cluster.py                 0.82 GB of predictions; 2 GB of disk
    python bench/cluster.py --neurons 512   a smaller trial

Everything is generated and deleted. Scheduler and workers are processes of this machine, a worker
having one thread. In a round the pool and the cluster score the same store one after the other,
each with processes that have scored it before, so neither their start nor what they import is
counted; ratios are taken within a round, and medians are shown. Memory is the peak of each process
as the operating system counts it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

from distributed import Client
from score import _write_predictions, _write_recording

from zapeval.benchmarks.zapbench import HORIZON, ZAPBENCH
from zapeval.forecasting.predictions import open_predictions
from zapeval.recordings.recording import Recordings, open_recording
from zapeval.scoring.cluster import Cluster
from zapeval.scoring.score import Run, score


def main() -> None:
    """Runs every measurement and prints the table."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="bench-cluster-", dir=options.folder))
    try:
        _write_recording(folder / "data", options.neurons)
        _write_predictions(folder, folder / "predictions", "ours")
        logical = ZAPBENCH.windows * HORIZON * options.neurons * 4
        print(f"{logical / 1e9:.2f} GB of predictions, load {os.getloadavg()[0]:.1f}")
        for workers in map(int, options.workers.split(",")):
            _compare(folder, workers, options.rounds, logical)
    finally:
        shutil.rmtree(folder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neurons", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("--folder", default=None, help="where to put the 2 GB")
    return parser.parse_args()


def _compare(folder: Path, workers: int, rounds: int, logical: int) -> None:
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
        _dask(folder, workers) as (address, pids),
        Cluster(address) as cluster,
    ):
        ways: dict[str, Run] = {"pool": pool.map, "cluster": cluster.map}
        for run in ways.values():
            _score(folder, run)
        found = [{way: _score(folder, run) for way, run in ways.items()} for _ in range(rounds)]
        peaks = max(map(_peak, pool._processes or ())), max(map(_peak, pids))
    ratios = [r["cluster"] / r["pool"] for r in found]
    speeds = [logical / statistics.median(r[way] for r in found) / 1e9 for way in ways]
    print(
        f"{workers} workers: pool {speeds[0]:.2f} GB/s, cluster {speeds[1]:.2f} GB/s; time of the "
        f"cluster over the pool {statistics.median(ratios):.2f} (rounds "
        f"{', '.join(f'{ratio:.2f}' for ratio in ratios)}); peak of a process {peaks[0]:.0f} MB, "
        f"of a worker {peaks[1]:.0f} MB"
    )


def _score(folder: Path, run: Run) -> float:
    recordings = Recordings({"zapbench": lambda: open_recording(str(folder / "data"))})
    predictions = open_predictions(str(folder / "predictions"))
    begun = time.monotonic()
    score(predictions, ZAPBENCH, recordings, context=4, run=run)
    return time.monotonic() - begun


@contextmanager
def _dask(folder: Path, workers: int) -> Iterator[tuple[str, list[int]]]:
    """Runs a scheduler and workers; gives its address and their process ids."""
    told = folder / "scheduler.json"
    told.unlink(missing_ok=True)
    file = ["--scheduler-file", str(told), "--no-dashboard"]
    here = ["--host", "127.0.0.1"]
    processes = [_start("scheduler", *file, *here, "--port", "0")]
    try:
        one = ["--nthreads", "1", "--no-nanny", "--local-directory", str(folder)]
        processes += [_start("worker", *file, *here, *one) for _ in range(workers)]
        with Client(scheduler_file=str(told), set_as_default=False) as client:
            client.wait_for_workers(workers)
            yield client.scheduler.address, [process.pid for process in processes[1:]]
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


def _start(part: str, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"distributed.cli.dask_{part}", *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _peak(pid: int) -> float:
    """Returns the peak resident memory of a process in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e3


if __name__ == "__main__":
    main()
