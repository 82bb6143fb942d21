"""Benchmarks: what is known of each, for whoever wants to submit."""

from __future__ import annotations

from functools import lru_cache
from typing import final

from pydantic import BaseModel, ConfigDict

from leaderboard.known import recipe_of
from leaderboard.problems import Missing
from leaderboard.settings import Settings
from zapeval.benchmarks.benchmark import Benchmark, target_span
from zapeval.errors import ZapevalError
from zapeval.registry import BENCHMARKS, plugins

_KEPT = 64


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@final
class SeriesView(_Part):
    """What is averaged together.

    Attributes:
        name: Its name.
        array: Name of its array in a predictions store.
        group: Its group, or "".
        held_out: Whether it stays out of training and of the average.
        windows: Number of its windows.
        first: Origin of the first window.
        last: Origin of the last one.
        targets: First frame of the targets, and the frame after the last.
        train: Frame ranges that may be trained on.
        validation: Frame ranges for choosing checkpoints.
        shape: Shape of its array in a predictions store, as far as it is known.
    """

    name: str
    array: str
    group: str
    held_out: bool
    windows: int
    first: int
    last: int
    targets: tuple[int, int]
    train: tuple[tuple[int, int], ...]
    validation: tuple[tuple[int, int], ...]
    shape: str


@final
class BenchmarkView(_Part):
    """A benchmark.

    Attributes:
        id: Its id.
        version: Its version.
        label: Both, as users write them.
        title: What it is, in a line.
        citation: What to cite for it.
        protocol: ``horizon`` or ``next-step``.
        contexts: Context lengths that have boards.
        max_context: Longest context length.
        horizon: Steps ahead, or positions of a window.
        summary_steps: Steps whose mean is the summary.
        primary: Metric of the summary.
        sampled: What chance acts on: ``time`` or ``series``.
        frame_seconds: Time between frames, or None.
        windows: Number of windows over all series.
        digest: Digest over everything that determines scores.
        series: What is averaged.
        reason: Why no more than id and title is known, or "".
    """

    id: str
    version: int
    label: str
    title: str
    citation: str = ""
    protocol: str = ""
    contexts: tuple[int, ...] = ()
    max_context: int | None = None
    horizon: int | None = None
    summary_steps: tuple[int, ...] = ()
    primary: str = ""
    sampled: str = ""
    frame_seconds: float | None = None
    windows: int = 0
    digest: str = ""
    series: tuple[SeriesView, ...] = ()
    reason: str = ""


def known_benchmarks(settings: Settings) -> tuple[BenchmarkView, ...]:
    """Returns every benchmark that is installed here, by id."""
    found = []
    for name in plugins(BENCHMARKS):
        view = _view_of(name, settings.recordings.get(name))
        if view is not None:
            found.append(view)
    return tuple(found)


def one_benchmark(settings: Settings, label: str) -> BenchmarkView:
    """Returns the benchmark of an id or ``id@version``.

    Raises:
        Missing: There is none; lists those that there are.
    """
    identifier, at, version = label.partition("@")
    known = known_benchmarks(settings)
    for view in known:
        if view.id == identifier and (not at or version == str(view.version)):
            return view
    listed = ", ".join(view.label for view in known)
    raise Missing(f"benchmarks/{label:.80}: no such benchmark; there is: {listed}")


@lru_cache(maxsize=_KEPT)
def _view_of(name: str, data: str | None) -> BenchmarkView | None:
    try:
        recipe = recipe_of(name)
    except ZapevalError:
        return (
            None  # a plugin that can't be loaded has no version; `zapeval benchmarks list` says why
        )
    label = f"{recipe.id}@{recipe.version}"
    try:
        benchmark = recipe.resolve(recipe.recordings(data))
    except (ZapevalError, OSError):
        return BenchmarkView(
            id=recipe.id,
            version=recipe.version,
            label=label,
            title=recipe.title,
            reason="its recordings are not on this server, and its windows follow from them",
        )
    return _whole(benchmark)


def _whole(benchmark: Benchmark) -> BenchmarkView:
    return BenchmarkView(
        id=benchmark.id,
        version=benchmark.version,
        label=benchmark.label,
        title=benchmark.title,
        citation=benchmark.citation,
        protocol=benchmark.protocol,
        contexts=benchmark.context_lengths,
        max_context=benchmark.max_context,
        horizon=benchmark.horizon,
        summary_steps=benchmark.summary_steps,
        primary=benchmark.primary,
        sampled=benchmark.sampled,
        frame_seconds=benchmark.frame_seconds,
        windows=benchmark.windows,
        digest=benchmark.digest,
        series=tuple(
            SeriesView(
                name=series.name,
                array=series.array,
                group=series.group,
                held_out=series.held_out,
                windows=series.windows,
                first=series.origins[0],
                last=series.origins[-1],
                targets=target_span(benchmark, series),
                train=series.train,
                validation=series.validation,
                shape=f"[{series.windows}, {benchmark.horizon}, neurons]",
            )
            for series in benchmark.series
        ),
    )
