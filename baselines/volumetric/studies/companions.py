"""The companions: recordings of other specimens, for ``others`` of ``volumetric-unet``.

Source: Immer et al. 2025 (arXiv 2503.00073): frames of other specimens, each with the bounds of its
own conditions, are added to the training split.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zapeval.benchmarks.benchmark import Benchmark
from zapeval.benchmarks.synthetic import (
    SEED,
    Mini,
    Smoke,
    brain_folder,
    generate_brain,
    write_brain,
)
from zapeval.benchmarks.zapbench import Condition, conditions
from zapeval.errors import UsageError
from zapeval.recordings.writer import beside, files_into


def companions_of(benchmark: Benchmark, given: Sequence[str]) -> tuple[str, ...]:
    """Returns recordings to train on beside a benchmark's: those that are given, else a brain.

    Args:
        benchmark: What is studied; the embedded ones have another generated brain beside them.
        given: Folders or TOML files, as ``others`` takes them.

    Raises:
        UsageError: None is given, and the benchmark is not an embedded one.
    """
    if not given and benchmark.id not in (Mini.id, Smoke.id):
        raise UsageError(
            f"{benchmark.label}: has no other specimen to train on; give one with --specimen"
        )
    return tuple(given) or (str(generated(SEED + 1)),)


def generated(seed: int) -> Path:
    """Returns the file of a generated brain, made on first use and kept in the data folder.

    Raises:
        StorageError: The disk is full.
    """
    folder = brain_folder(seed)
    if not folder.exists():
        with beside(folder) as unfinished:
            write_brain(generate_brain(seed), unfinished)
    file = folder.with_suffix(".toml")
    if not file.exists():
        with files_into(file.parent) as partial:
            (partial / file.name).write_text(bounds_of(folder.name, seed), encoding="utf-8")
    return file


def bounds_of(folder: str, seed: int) -> str:
    """Returns the TOML of a brain's conditions: all frames to train on, but the last of each.

    Args:
        folder: The brain's folder, beside the file.
        seed: Its seed.
    """
    head = f'id = "brain-{seed}"\ncontext_lengths = [1]\nhorizon = 1\n'
    recording = f'\n[[recordings]]\nkey = "brain"\nactivity = "{folder}"\n'
    return head + recording + "".join(map(_series, conditions()))


def _series(condition: Condition) -> str:
    start, stop = condition.span
    # A benchmark is tested somewhere: on one frame here, which nobody scores.
    return (
        f'\n[[series]]\nname = "{condition.name}"\nframes = [{start}, {stop}]\n'
        f"train = [{start}, {stop - 1}]\ntest = [{stop - 1}, {stop}]\n"
    )
