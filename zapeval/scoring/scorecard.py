"""A scorecard: the scores of one predictions store, and everything that identifies them."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from zapeval.errors import InvalidInput, NotFound

SCHEMA = "zapeval.scorecard/1"


@dataclass(frozen=True, kw_only=True)
class SeriesLine:
    """One series of a scorecard.

    Attributes:
        name: Its name.
        group: Its group, or "".
        held_out: Whether it stays out of the average.
        windows: Scored windows.
        neurons: Neurons of the recording.
        scored: Neurons that were scored.
        missing: Neurons without predictions.
    """

    name: str
    group: str
    held_out: bool
    windows: int
    neurons: int
    scored: int
    missing: int


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number.

    Attributes:
        series: Name of a series, ``average``, ``average:GROUP`` or ``pooled``.
        step: Steps ahead, 1-based.
        metric: ``mae`` (df/f), ``mse`` (its square), ``correlation``, or ``mse_pooled``.
        value: The score; None where it is undefined.
        low: Lower end of its 95 % interval, or None.
        high: Upper end, or None.
        undefined: Neurons left out of a correlation because a side is constant.
    """

    series: str
    step: int
    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None
    undefined: int = 0


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What boards rank by: the mean of the average over the benchmark's summary steps."""

    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Scorecard:
    """Scores with their identity; the fields of the JSON (schema ``zapeval.scorecard/1``).

    Attributes:
        benchmark: Id, version, protocol, context length, digest, what is sampled, summary steps.
        data: Digest of the target frames.
        predictions: Digest of the contents, and kind.
        forecaster: The manifest's forecaster, or {}.
        series: A line for each series, in the benchmark's order.
        missing: ``strict`` or ``official``.
        partial: Whether a neuron was missing; such a card is shown and never ranked.
        scored_set: Digest of which neurons were scored.
        scores: Every score.
        summary: The headline.
        intervals: How intervals were made, or the reason why there are none.
        notes: What a reader should know.
        sums: File of the sums a window, and its digest; None where none was kept.
        environment: Versions and machine.
        seconds: How long it took.
    """

    benchmark: dict[str, Any]
    data: dict[str, Any]
    predictions: dict[str, Any]
    forecaster: dict[str, Any]
    series: tuple[SeriesLine, ...]
    missing: str
    partial: bool
    scored_set: str
    scores: tuple[Score, ...]
    summary: Summary
    intervals: dict[str, Any]
    notes: tuple[str, ...] = ()
    sums: dict[str, str] | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def value(self, series: str, step: int, metric: str) -> float | None:
        """Returns one score's value.

        Raises:
            NotFound: The scorecard has no such row.
        """
        for score in self.scores:
            if (score.series, score.step, score.metric) == (series, step, metric):
                return score.value
        raise NotFound(f"scorecard: has no {metric} of {series!r} at step {step}")

    def to_json(self) -> str:
        """Returns the scorecard as JSON; equal scorecards give equal text."""
        document = {"schema": SCHEMA} | asdict(self)
        return json.dumps(document, indent=1, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """Returns the scores as CSV, one row a score, each with its identity."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        identity = ("benchmark", "context", "predictions")
        columns = ("series", "step", "metric", "value", "low", "high", "undefined")
        rows.writerow((*identity, *columns))
        label = f"{self.benchmark['id']}@{self.benchmark['version']}"
        own = (label, self.benchmark["context"], self.predictions["digest"])
        for score in self.scores:
            values = (getattr(score, column) for column in columns)
            rows.writerow((*own, *("" if value is None else value for value in values)))
        return text.getvalue()


def write_scorecard(card: Scorecard, path: Path, sums: dict[str, str] | None) -> Scorecard:
    """Writes the JSON beside its window sums, and returns the card that names them."""
    card = replace(card, sums=sums)
    partial = path.with_name(path.name + ".part")
    partial.write_text(card.to_json(), encoding="utf-8")
    partial.replace(path)
    return card


def read_scorecard(path: Path) -> Scorecard:
    """Returns the scorecard of a JSON file.

    Raises:
        NotFound: The file does not exist.
        InvalidInput: It is no scorecard of this schema.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFound(f"{path}: does not exist") from error
    except ValueError as error:
        raise InvalidInput(f"{path}: is not valid JSON: {error}") from error
    if not isinstance(document, dict) or document.pop("schema", None) != SCHEMA:
        raise InvalidInput(f"{path}: is no scorecard; expected schema {SCHEMA!r}")
    try:
        document["series"] = tuple(SeriesLine(**line) for line in document["series"])
        document["scores"] = tuple(Score(**score) for score in document["scores"])
        document["summary"] = Summary(**document["summary"])
        document["notes"] = tuple(document["notes"])
        return Scorecard(**document)
    except (KeyError, TypeError) as error:
        raise InvalidInput(f"{path}: does not follow {SCHEMA!r}: {error}") from error
