"""The table of an experiment: a row a cell and source, as CSV and Parquet, and its laws."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import final

from baselines.worms.scaling.cells import Document
from baselines.worms.scaling.laws import Law, law_of
from zapeval.errors import StorageError

CELLS, LAWS = "cells", "laws"
"""Names of the tables, without their ending."""


@final
@dataclass(frozen=True, kw_only=True)
class Row:
    """One cell's losses over one source.

    Attributes:
        model: Name of the forecaster.
        hidden: Its width; None where it has none to choose.
        counted: Parameters as the paper counts.
        live: Parameters that learn.
        worms: Worms that it learned from.
        train_steps: Different frames of them that it learned from.
        seed: Its seed.
        source: Source that it is measured on, "" for all.
        measured: Worms that it is measured on.
        loss: Validation loss, mean over worms (Eq. 4).
        pooled: The same over all labelled entries.
        naive: Loss of the forecast that nothing changes.
        naive_pooled: The same, pooled.
        steps: Training steps done.
        best_step: Step whose parameters are kept.
        seconds: Time that its training took.
        digest: Digest of its configuration.
    """

    model: str
    hidden: int | None
    counted: int
    live: int
    worms: int
    train_steps: int
    seed: int
    source: str
    measured: int
    loss: float
    pooled: float
    naive: float
    naive_pooled: float
    steps: int
    best_step: int
    seconds: float
    digest: str


@final
@dataclass(frozen=True, kw_only=True)
class LawRow:
    """The law of one model over one source.

    Attributes:
        model: Name of the forecaster.
        source: Source, "" for all.
        of: What grows: ``train_steps`` or ``live``.
        slope: Exponent of the loss.
        low: Lower end of its 95 % interval.
        high: Upper end.
        intercept: ``ln(loss)`` where what grows is 1.
        explained: Share of the variance of ``ln(loss)``.
        points: Points, one a size and seed.
    """

    model: str
    source: str
    of: str
    slope: float
    low: float | None
    high: float | None
    intercept: float
    explained: float
    points: int


def rows_of(documents: Iterable[Document]) -> list[Row]:
    """Returns the rows of finished cells, in the order of models, sizes and seeds."""
    rows = [
        Row(
            model=one.model,
            hidden=one.hidden,
            counted=one.result.counted,
            live=one.result.live,
            worms=one.worms,
            train_steps=one.result.train_steps,
            seed=one.seed,
            source=part.source,
            measured=part.worms,
            loss=part.loss,
            pooled=part.pooled,
            naive=part.naive,
            naive_pooled=part.naive_pooled,
            steps=one.result.steps,
            best_step=one.result.best_step,
            seconds=one.result.seconds,
            digest=one.digest,
        )
        for one in documents
        for part in one.result.losses
    ]
    models = {model: n for n, model in enumerate(dict.fromkeys(row.model for row in rows))}
    return sorted(rows, key=lambda row: (models[row.model], row.live, row.worms, row.seed))


def laws_of(rows: Sequence[Row], of: str) -> dict[tuple[str, str], Law]:
    """Returns the law of each model over each source, where it has one.

    Args:
        rows: Rows of one experiment.
        of: What grows: ``train_steps`` or ``live``.
    """
    grows: Callable[[Row], float] = {
        "train_steps": lambda row: row.train_steps,
        "live": lambda row: row.live,
    }[of]
    found: dict[tuple[str, str], Law] = {}
    for key in dict.fromkeys((row.model, row.source) for row in rows):
        mine = [row for row in rows if (row.model, row.source) == key]
        law = law_of([grows(row) for row in mine], [row.loss for row in mine])
        if law is not None:
            found[key] = law
    return found


def lines_of(rows: Sequence[Row], laws: Mapping[tuple[str, str], Law], of: str) -> Iterator[str]:
    """Yields the laws over all worms as plain lines, with the loss at either end.

    Args:
        rows: Rows of one experiment.
        laws: Their laws.
        of: What grows.
    """
    every = [row for row in rows if not row.source]
    width = max(len(row.model) for row in every)
    yield f"{'model':<{width}}  loss / naive, fewest to most {of}  slope [95 %]  points"
    for model in dict.fromkeys(row.model for row in every):
        mine = [row for row in every if row.model == model]
        sizes = sorted({(row.train_steps, row.live) for row in mine})
        ends = [
            fmean(row.loss / row.naive for row in mine if (row.train_steps, row.live) == size)
            for size in (sizes[0], sizes[-1])
        ]
        yield f"{model:<{width}}  {ends[0]:.3f} to {ends[1]:.3f}  {said(laws.get((model, '')))}"


def said(law: Law | None) -> str:
    """Returns a slope with its interval and number of points, or a dash where there is none."""
    if law is None:
        return "-"
    ends = "" if law.low is None or law.high is None else f" [{law.low:.2f}, {law.high:.2f}]"
    return f"{law.slope:.2f}{ends}  {law.points}"


def write(folder: Path, rows: Sequence[Row], laws: Mapping[tuple[str, str], Law], of: str) -> None:
    """Writes both tables as CSV, and as Parquet where pyarrow is installed.

    Raises:
        StorageError: A file can't be written.
    """
    lines = [
        LawRow(model=model, source=source, of=of, **asdict(law))
        for (model, source), law in laws.items()
    ]
    try:
        _write(folder / CELLS, rows, Row)
        _write(folder / LAWS, lines, LawRow)
    except OSError as error:
        raise StorageError(f"{folder}: can't hold the tables: {error.strerror}") from error


def _write(path: Path, rows: Sequence[Row] | Sequence[LawRow], kind: type) -> None:
    names = [field.name for field in fields(kind)]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(asdict, rows))
    partial = path.with_suffix(".part")
    partial.write_text(text.getvalue(), encoding="utf-8")
    partial.replace(path.with_suffix(".csv"))
    if find_spec("pyarrow") is None or not rows:
        return
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({n: [getattr(row, n) for row in rows] for n in names}), partial)
    partial.replace(path.with_suffix(".parquet"))
