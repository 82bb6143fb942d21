"""Scoring at full scale, beside TensorStore's own decoding and beside the whole-array way.

    python bench/score.py                 14.3 GB of predictions in each layout; 21 GB of disk
    python bench/score.py --neurons 4096  a smaller trial

Everything is generated and deleted. Each measurement is a process of its own, which reports its
seconds, imports apart, and its peak resident memory as the operating system counts it. In a round
the ways run one after the other on the same store; ratios are taken within a round, and medians are
shown. Before a warm measurement every file is read once; before a cold one the operating system is
asked to forget them all.

* decode: TensorStore reads and decodes every chunk and does nothing else. It reads one step of 32
  windows at a time, its fastest pattern here, into a new array each time, or into one array
  (decode-into); ratios are to the faster of the two.
* decode-tasks: TensorStore reads what a task of ours does, a few steps of all windows of a series,
  in one call, as a scorer would that is fed by it; the second ratio is to this.
* whole: read all, materialise the targets, nan_to_num, mean; on the part that fits memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from zapeval.benchmarks.benchmark import Series
from zapeval.benchmarks.zapbench import FRAMES, HORIZON, ZAPBENCH
from zapeval.forecasting.predictions import open_predictions
from zapeval.forecasting.writing import WINDOWS_A_BLOCK, layout_of
from zapeval.recordings.recording import Recordings, open_recording
from zapeval.recordings.stores import open_store
from zapeval.recordings.writer import Layout, create_array

WAYS = ("score", "score+digest", "decode", "decode-into", "decode-tasks")
PART = 200


def main() -> None:
    """Runs every measurement and prints the table."""
    options = _options()
    if options.child:
        print(json.dumps(_measure(options.child, Path(options.folder), options.workers)))
        return
    folder = Path(tempfile.mkdtemp(prefix="bench-score-", dir=options.folder))
    try:
        _write_recording(folder / "data", options.neurons)
        for layout in options.layouts.split(","):
            _compare(folder, layout, options)
    finally:
        shutil.rmtree(folder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neurons", type=int, default=71721)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--layouts", default="raw,ours")
    parser.add_argument("--folder", default=None, help="where to put the 21 GB")
    parser.add_argument("--child", default=None, help=argparse.SUPPRESS)
    return parser.parse_args()


def _compare(folder: Path, layout: str, options: argparse.Namespace) -> None:
    store = folder / "predictions"
    begun = time.monotonic()
    _write_predictions(folder, store, layout)
    stored = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    logical = ZAPBENCH.windows * HORIZON * options.neurons * 4
    print(
        f"\n{layout}: {logical / 1e9:.2f} GB of predictions, {stored / 1e9:.2f} GB stored, "
        f"written in {time.monotonic() - begun:.0f} s"
    )
    for cold in (False, True):
        rounds = [_round(folder, options.workers, cold) for _ in range(options.rounds)]
        _print(f"{layout}, {'cold' if cold else 'warm'}", logical, rounds)
    part = PART * HORIZON * options.neurons * 4
    speeds, ratios = [], []
    for _ in range(options.rounds):
        _touch(folder)
        whole = _run("whole", folder, 1)
        speeds.append(part / whole["seconds"] / 1e9)
        _touch(folder)
        seconds = _run("score", folder, options.workers)["seconds"]
        ratios.append(logical / seconds / 1e9 / speeds[-1])
    print(
        f"{layout}, whole-array way on {PART} windows ({part / 1e9:.2f} GB): "
        f"{statistics.median(speeds):.2f} GB/s, {whole['peak'] / 1e9:.2f} GB resident; score is "
        f"{statistics.median(ratios):.0f} times as fast (rounds "
        f"{', '.join(f'{ratio:.0f}' for ratio in ratios)})"
    )
    shutil.rmtree(store)


def _round(folder: Path, workers: int, cold: bool) -> dict[str, dict[str, float]]:
    found = {}
    for way in WAYS:
        (_evict if cold else _touch)(folder)
        found[way] = _run(way, folder, workers)
    return found


def _print(title: str, logical: int, rounds: list[dict[str, dict[str, float]]]) -> None:
    print(f"{title}: median of {len(rounds)} rounds")
    for way in WAYS:
        speeds = [logical / r[way]["seconds"] / 1e9 for r in rounds]
        ratios = [
            min(r["decode"]["seconds"], r["decode-into"]["seconds"]) / r[way]["seconds"]
            for r in rounds
        ]
        tasks = [r["decode-tasks"]["seconds"] / r[way]["seconds"] for r in rounds]
        peak = max(r[way]["peak"] for r in rounds)
        print(
            f"  {way:<13} {statistics.median(speeds):6.2f} GB/s  "
            f"{_ratio(ratios)} x decode  {_ratio(tasks)} x decode-tasks  "
            f"{peak / 1e6:5.0f} MB resident"
        )


def _ratio(ratios: list[float]) -> str:
    rounds = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    return f"{statistics.median(ratios):5.2f} (rounds {rounds})"


def _run(way: str, folder: Path, workers: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", way, "--folder", str(folder)]
    command += ["--workers", str(workers)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _measure(way: str, folder: Path, workers: int) -> dict[str, float]:
    if way.startswith("score"):
        seconds = _score(folder, workers, digest=way == "score+digest")
    elif way == "whole":
        seconds = _whole(folder)
    elif way == "decode-tasks":
        seconds = _decode_tasks(folder, workers)
    else:
        seconds = _decode(folder, workers, into=way == "decode-into")
    return {"seconds": seconds, "peak": _peak()}


def _peak() -> int:
    """Returns the peak resident memory of this process alone, in bytes."""
    # Not ru_maxrss: on Linux a child inherits the figure of the process that started it.
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _score(folder: Path, workers: int, *, digest: bool) -> float:
    from zapeval.scoring.score import score

    begun = time.monotonic()
    recordings = Recordings({"zapbench": lambda: open_recording(str(folder / "data"))})
    predictions = open_predictions(str(folder / "predictions"))
    with ThreadPoolExecutor(workers) as pool:
        score(predictions, ZAPBENCH, recordings, context=4, digest=digest, run=pool.map)
    return time.monotonic() - begun


def _decode(folder: Path, workers: int, *, into: bool) -> float:
    import tensorstore as ts

    begun = time.monotonic()
    for series, opened in _opened(folder, workers):
        room = np.empty((WINDOWS_A_BLOCK, 1, opened.shape[2]), np.float32)
        for start in range(0, series.windows, WINDOWS_A_BLOCK):
            rows = slice(start, min(start + WINDOWS_A_BLOCK, series.windows))
            for step in range(HORIZON):
                region = opened[rows, step : step + 1][ts.d[:].translate_to[0]]
                if into:
                    ts.array(room[: rows.stop - start]).write(region).result()
                else:
                    region.read().result()
    return time.monotonic() - begun


def _decode_tasks(folder: Path, workers: int) -> float:
    from zapeval.scoring.score import STEPS_A_TASK

    begun = time.monotonic()
    for _, opened in _opened(folder, workers):
        for start in range(0, HORIZON, STEPS_A_TASK):
            opened[:, start : start + STEPS_A_TASK].read().result()
    return time.monotonic() - begun


def _opened(folder: Path, workers: int) -> Iterator[tuple[Series, Any]]:
    """Yields every series with its predictions, opened by TensorStore."""
    import tensorstore as ts

    context = {"data_copy_concurrency": {"limit": workers}}
    for series in ZAPBENCH.series:
        array = open_predictions(str(folder / "predictions")).arrays[series.array]
        driver = "zarr3" if array.metadata.zarr_format == 3 else "zarr"
        spec = {"driver": driver, "kvstore": array.store.spec, "context": context}
        yield series, ts.open(spec, read=True).result()


def _whole(folder: Path) -> float:
    import tensorstore as ts

    series = ZAPBENCH.one("dots")
    array = open_predictions(str(folder / "predictions")).arrays[series.array]
    activity = open_recording(str(folder / "data")).activity
    rows = activity.read((series.origins[0], series.origins[PART - 1] + HORIZON))
    begun = time.monotonic()
    driver = "zarr3" if array.metadata.zarr_format == 3 else "zarr"
    opened = ts.open({"driver": driver, "kvstore": array.store.spec}, read=True).result()
    predictions = opened[:PART].read().result()
    targets = np.stack([rows[w : w + HORIZON] for w in range(PART)])
    predictions, targets = np.nan_to_num(predictions), np.nan_to_num(targets)
    np.abs(predictions - targets).mean(axis=(0, 2))
    np.square(predictions - targets).mean(axis=(0, 2))
    return time.monotonic() - begun


def _write_recording(folder: Path, neurons: int) -> None:
    """Writes noise in the public bucket's layout: zarr v3, chunks of 512 x 512, uncompressed."""
    random = np.random.default_rng(0)
    layout = Layout(chunk=(512, 512), compressed=False)
    writer = create_array(open_store(folder / "traces"), (FRAMES, neurons), "float32", layout)
    for start in range(0, FRAMES, 512):
        frames = random.standard_normal((min(512, FRAMES - start), neurons), np.float32)
        frames *= np.float32(0.05)
        writer.write((start, 0), frames)


def _write_predictions(folder: Path, store: Path, layout: str) -> None:
    for series in ZAPBENCH.series:
        activity = open_recording(str(folder / "data")).activity
        shape = (series.windows, HORIZON, activity.shape[1])
        write = _writer(store / series.array, shape, layout)
        for start, values in _blocks(activity, series.origins):
            write((start, 0, 0), values)


def _writer(path: Path, shape: tuple[int, int, int], layout: str):
    if layout == "ours":
        return create_array(open_store(path), shape, "float32", layout_of(ZAPBENCH, shape[2])).write
    import tensorstore as ts

    metadata = {
        "shape": shape,
        "dtype": "<f4",
        "chunks": [min(shape[0], 32), 1, min(shape[2], 16384)],
        "compressor": None,
    }
    kvstore = {"driver": "file", "path": f"{path}/"}
    spec = {"driver": "zarr", "kvstore": kvstore, "metadata": metadata}
    array = ts.open(spec, create=True).result()
    return lambda at, values: array[at[0] : at[0] + len(values)].write(values).result()


def _blocks(activity, origins: tuple[int, ...]) -> Iterator[tuple[int, np.ndarray]]:
    """Yields forecasts that err by noise: their mantissas compress as real ones do."""
    random = np.random.default_rng(1)
    noise = random.standard_normal((HORIZON, activity.shape[1]), np.float32) * np.float32(0.02)
    for start in range(0, len(origins), WINDOWS_A_BLOCK):
        of = origins[start : start + WINDOWS_A_BLOCK]
        rows = activity.read((of[0], of[-1] + HORIZON))
        values = np.empty((len(of), HORIZON, activity.shape[1]), np.float32)
        for w in range(len(of)):
            np.add(rows[w : w + HORIZON], np.roll(noise, w, axis=0), out=values[w])
        yield start, values


def _touch(folder: Path) -> None:
    """Reads every file once."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.read(1 << 24):
                    pass


def _evict(folder: Path) -> None:
    """Asks the operating system to forget the files' pages."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


if __name__ == "__main__":
    main()
