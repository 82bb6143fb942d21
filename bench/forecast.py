"""Forecasting at full scale, beside the disk's own write rate, and a closed-form fit.

    python bench/forecast.py                 2.3 GB recorded, 14.3 GB forecast; 19 GB of disk
    python bench/forecast.py --neurons 4096  a smaller trial

Everything is generated and deleted. Each measurement is a process of its own, which reports its
seconds, imports apart, and its peak resident memory as the operating system counts it. In a round
the ways run one after the other in the same folder; ratios are taken within a round, and medians
are shown. Before each the operating system is asked to write back what it holds.

* write: as many bytes as the predictions, in files as large as theirs, by plain writes from one
  buffer; each file is synchronised when it is whole, as TensorStore does with a chunk.
* forecast: ``mean`` of 4 frames, all 1,557 windows, stored without compression.
* fit: shared least squares from 256 frames to 32, over all training windows.
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
from pathlib import Path

import numpy as np

from baselines.linear import LeastSquares
from baselines.naive import Mean
from zapeval.benchmarks.zapbench import FRAMES, HORIZON, MAX_CONTEXT, ZAPBENCH
from zapeval.forecasting.forecast import forecast
from zapeval.forecasting.training import training_of
from zapeval.forecasting.writing import WINDOWS_A_BLOCK
from zapeval.recordings.recording import Recordings, open_recording
from zapeval.recordings.stores import open_store
from zapeval.recordings.writer import Layout, create_array

CONTEXT = 4


def main() -> None:
    """Runs every measurement and prints the figures."""
    options = _options()
    if options.child:
        print(json.dumps(_measure(options.child, Path(options.folder), options.neurons)))
        return
    folder = Path(tempfile.mkdtemp(prefix="bench-forecast-", dir=options.folder))
    try:
        _write_recording(folder / "data", options.neurons)
        _compare(folder, options)
        fits = [_run("fit", folder, options.neurons) for _ in range(options.rounds)]
        seconds = [fit["seconds"] for fit in fits]
        peak = max(fit["peak"] for fit in fits)
        print(
            f"fit, C={MAX_CONTEXT}: {statistics.median(seconds):.2f} s (rounds {_listed(seconds)})"
        )
        processor = statistics.median(fit["processor"] for fit in fits)
        print(f"  {processor:.2f} s of processor time, {peak / 1e6:.0f} MB resident")
    finally:
        shutil.rmtree(folder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neurons", type=int, default=71721)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default=None, help="where to put the 19 GB")
    parser.add_argument("--child", default=None, help=argparse.SUPPRESS)
    return parser.parse_args()


def _compare(folder: Path, options: argparse.Namespace) -> None:
    ratios, speeds, peaks = [], {"write": [], "forecast": []}, []
    for _ in range(options.rounds):
        found = {}
        for way, rounds in speeds.items():
            found[way] = _run(way, folder, options.neurons)
            rounds.append(found[way]["bytes"] / found[way]["seconds"] / 1e9)
        ratios.append(speeds["forecast"][-1] / speeds["write"][-1])
        peaks.append(found["forecast"]["peak"])
    print(f"mean, C={CONTEXT}: {found['forecast']['bytes'] / 1e9:.2f} GB of predictions")
    for way, rounds in speeds.items():
        print(f"  {way:<9} {statistics.median(rounds):5.2f} GB/s  (rounds {_listed(rounds)})")
    print(f"  forecast is {statistics.median(ratios):.2f} x write  (rounds {_listed(ratios)})")
    print(f"  {max(peaks) / 1e6:.0f} MB resident")


def _listed(figures: list[float]) -> str:
    return ", ".join(f"{figure:.2f}" for figure in figures)


def _run(way: str, folder: Path, neurons: int) -> dict[str, float]:
    os.sync()
    command = [sys.executable, __file__, "--child", way, "--folder", str(folder)]
    command += ["--neurons", str(neurons)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _measure(way: str, folder: Path, neurons: int) -> dict[str, float]:
    ways = {"write": _write, "forecast": _forecast, "fit": _fit}
    begun = time.process_time()
    seconds, size = ways[way](folder, neurons)
    processor = time.process_time() - begun
    return {"seconds": seconds, "processor": processor, "bytes": size, "peak": _peak()}


def _peak() -> int:
    """Returns the peak resident memory of this process alone, in bytes."""
    # Not ru_maxrss: on Linux a child inherits the figure of the process that started it.
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _recordings(folder: Path) -> Recordings:
    return Recordings({"zapbench": lambda: open_recording(str(folder / "data"))})


def _write(folder: Path, neurons: int) -> tuple[float, int]:
    place = folder / "written"
    place.mkdir()
    values = np.random.default_rng(2).standard_normal(HORIZON * neurons, np.float32)
    buffer = memoryview(np.tile(values, WINDOWS_A_BLOCK)).cast("B")
    left = ZAPBENCH.windows * HORIZON * neurons * 4
    begun = time.monotonic()
    for number in range(-(-left // len(buffer))):
        file = os.open(place / str(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        part = buffer[: left - number * len(buffer)]
        while part:
            part = part[os.write(file, part) :]
        os.fsync(file)
        os.close(file)
    seconds = time.monotonic() - begun
    shutil.rmtree(place)
    return seconds, left


def _forecast(folder: Path, neurons: int) -> tuple[float, int]:
    store = folder / "predictions.zarr"
    begun = time.monotonic()
    forecast(Mean(), ZAPBENCH, _recordings(folder), store, context=CONTEXT, compressed=False)
    seconds = time.monotonic() - begun
    shutil.rmtree(store)
    return seconds, ZAPBENCH.windows * HORIZON * neurons * 4


def _fit(folder: Path, neurons: int) -> tuple[float, int]:
    begun = time.monotonic()
    training = training_of(
        ZAPBENCH,
        _recordings(folder),
        context=MAX_CONTEXT,
        seed=0,
        folder=folder,
        record=folder,
    )
    LeastSquares().fit(training)
    frames = sum(stop - start for series in training.series for start, stop in series.train)
    return time.monotonic() - begun, frames * neurons * 4


def _write_recording(folder: Path, neurons: int) -> None:
    random = np.random.default_rng(0)
    layout = Layout(chunk=(512, 512), compressed=False)
    writer = create_array(open_store(folder / "traces"), (FRAMES, neurons), "float32", layout)
    for start in range(0, FRAMES, 512):
        frames = random.standard_normal((min(512, FRAMES - start), neurons), np.float32)
        frames *= np.float32(0.05)
        writer.write((start, 0), frames)


if __name__ == "__main__":
    main()
