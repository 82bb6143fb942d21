"""Main flow 1a: benchmark x forecaster x seed -> fit -> checkpoint."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zapeval.benchmarks.benchmark import Benchmark
from zapeval.benchmarks.recipe import check_recordings
from zapeval.errors import (
    BrokenPlugin,
    InvalidInput,
    NotFound,
    StorageError,
    UsageError,
    ZapevalError,
)
from zapeval.forecasting.checkpoint import (
    DOCUMENT,
    MODEL,
    Checkpoint,
    load_model,
    model_digest,
    read_checkpoint,
)
from zapeval.forecasting.contexts import data_mark
from zapeval.forecasting.forecast import check_declared
from zapeval.forecasting.forecaster import Forecaster
from zapeval.forecasting.manifest import BenchmarkPart, CostPart, said_of, software
from zapeval.forecasting.training import Note, Report, Training, silent, training_of, unheard
from zapeval.recordings.lock import emptied, locked
from zapeval.recordings.recording import Recordings

_RESUME = "unfinished"
_SECONDS = "seconds.txt"


def train(
    forecaster: Forecaster,
    benchmark: Benchmark,
    recordings: Recordings,
    folder: Path,
    *,
    context: int,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    report: Report = silent,
    note: Note = unheard,
) -> Checkpoint:
    """Fits a forecaster to the training frames of a benchmark and writes its checkpoint.

    What a fit keeps lies in ``.NAME.part`` beside the folder, which appears when all is done; so
    repeating an interrupted call goes on where its fit last kept something.

    Args:
        forecaster: What learns; it has learned afterwards.
        benchmark: What it learns on.
        recordings: Its recordings.
        folder: The checkpoint to make; one that is there and of the same task is taken up.
        context: Context length in frames.
        seed: Seed of everything that is random.
        settings: Arguments that the forecaster was made with, for the record.
        report: Told of progress.
        note: Told what a user should know.

    Raises:
        UsageError: The forecaster learns nothing.
        BrokenPlugin: Its fit or save raises.
        InvalidInput: The recordings are not the benchmark's, no series has a training window, or
            the folder holds something else.
        StorageError: The disk is full; what the fit kept stays for a repeat.
        Refused: Another run is training into the folder.
    """
    if not forecaster.learns:
        raise UsageError(f"{forecaster.name}: learns nothing; forecast with it at once")
    check_recordings(benchmark, recordings)
    check_declared(forecaster)
    begun = _begun(forecaster, benchmark, recordings, context, seed)
    begun = begun.model_copy(update={"settings": dict(settings or {})})
    if os.path.lexists(folder):
        return _finished(forecaster, folder, begun)
    partial = folder.with_name(f".{folder.name}.part")
    training = training_of(
        benchmark,
        recordings,
        context=context,
        seed=seed,
        folder=partial / _RESUME,
        record=partial,
        covariates=tuple(forecaster.covariates),
        leaks=bool(forecaster.leaks),
        report=report,
        note=note,
    )
    with locked(partial, "training"), _written(partial):
        _take_up(partial, begun)
        seconds = _fit(forecaster, training, partial)
        done = begun.model_copy(
            update={
                "model": model_digest(partial / MODEL),
                "cost": CostPart(
                    parameters=forecaster.size,
                    training_seconds=round(seconds, 3),
                    hardware=f"{platform.machine()} {platform.system()}",
                ),
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        )
        (partial / DOCUMENT).write_text(done.to_json(), encoding="utf-8")
        partial.rename(folder)
        # Only now: until here a run that is killed goes on with it.
        shutil.rmtree(folder / _RESUME, ignore_errors=True)
    return done


def _begun(
    forecaster: Forecaster,
    benchmark: Benchmark,
    recordings: Recordings,
    context: int,
    seed: int,
) -> Checkpoint:
    keys = {series.recording for series in benchmark.series}
    return Checkpoint(
        forecaster=said_of(forecaster),
        benchmark=BenchmarkPart(
            id=benchmark.id, version=benchmark.version, digest=benchmark.digest
        ),
        context=context,
        neurons={key: recordings[key].neurons for key in sorted(keys)},
        data=data_mark(benchmark, recordings, context),
        seed=seed,
        training_data=f"training frames of {benchmark.label}",
        software=software(),
    )


def _finished(forecaster: Forecaster, folder: Path, begun: Checkpoint) -> Checkpoint:
    """Takes up a finished checkpoint of the same task."""
    try:
        found = read_checkpoint(folder)
    except (InvalidInput, NotFound) as error:
        raise InvalidInput(f"{folder}: exists and is no checkpoint; choose another name") from error
    theirs, ours = _task(found), _task(begun)
    for what, got in theirs.items():
        if got != ours[what]:
            raise InvalidInput(
                f"{folder}: is a checkpoint of {what} {got}, expected {ours[what]}; remove it or "
                "choose another name"
            )
    load_model(forecaster, folder, found)
    shutil.rmtree(folder / _RESUME, ignore_errors=True)
    return found


def _task(said: Checkpoint) -> dict[str, object]:
    """Returns what sets one training apart from another, by name."""
    return {
        **{"forecaster": said.forecaster.name, "version": said.forecaster.version},
        **{"parameters": said.forecaster.parameters, "settings": said.settings},
        "benchmark": f"{said.benchmark.id}@{said.benchmark.version} ({said.benchmark.digest})",
        **{"context length": said.context, "neurons": said.neurons, "seed": said.seed},
        **{"covariates": said.forecaster.covariates, "leaks": said.forecaster.leaks},
        "code": said.forecaster.code,
    }


def _take_up(partial: Path, begun: Checkpoint) -> None:
    """Keeps what an unfinished run of the same task left, and nothing of another."""
    document = partial / _RESUME / DOCUMENT
    text = begun.to_json()
    if document.is_file() and document.read_text(encoding="utf-8") == text:
        return
    emptied(partial)
    document.parent.mkdir()
    document.write_text(text, encoding="utf-8")


def _fit(forecaster: Forecaster, training: Training, partial: Path) -> float:
    """Fits and saves; returns the seconds that it took over all attempts that were interrupted."""
    kept = training.folder / _SECONDS
    before = _seconds(kept)
    begun = time.monotonic()
    model = partial / MODEL
    try:
        try:
            forecaster.fit(training)
        finally:
            kept.write_text(str(before + time.monotonic() - begun))
        shutil.rmtree(model, ignore_errors=True)
        model.mkdir()
        forecaster.save(model)
    except ZapevalError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise BrokenPlugin(
            f"{forecaster.name}: training raised {type(error).__name__}: {error}"
        ) from error
    return before + time.monotonic() - begun


def _seconds(kept: Path) -> float:
    """Returns the seconds of attempts before, 0 where what says so was not written whole."""
    try:
        return float(kept.read_text())
    except (OSError, ValueError):
        return 0.0


@contextmanager
def _written(partial: Path) -> Iterator[None]:
    """Says what could not be written."""
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            why = "the disk is full; free some space and repeat the command"
        raise StorageError(f"{partial}: could not be written: {why}") from error
