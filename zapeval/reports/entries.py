"""Entries of a comparison: scorecards with their sums, the seeds of one forecaster together."""

from __future__ import annotations

import json
import math
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from zapeval.errors import InvalidInput, Refused, UsageError
from zapeval.reports.tables import enumerated, legible, shortened
from zapeval.scoring.scorecard import Scorecard, SeriesLine, read_scorecard
from zapeval.scoring.tally import read_window_sums

COLUMNS = {"mae": "absolute", "mse": "squared"}
"""Metric to the sums that it is the mean of."""

OF_A_SEED = ("seed", "checkpoint", "cost")
"""What may differ between the seeds of one forecaster."""

_TOLERANCE = 1e-9


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Kept:
    """A scorecard with the sums behind it.

    Attributes:
        file: Path of the scorecard, as it was given.
        card: The scorecard.
        sums: Arrays of the window sums, by name.
    """

    file: Path
    card: Scorecard
    sums: Mapping[str, np.ndarray]

    def origins(self, series: str) -> np.ndarray:
        """Returns the origins of a series, int64 ``[windows]``."""
        return self.sums[f"{series}/origins"]

    def errors(self, series: str, metric: str) -> np.ndarray:
        """Returns the mean error of each window and step, float64 ``[windows, steps]``."""
        errors: np.ndarray = (
            self.sums[f"{series}/{COLUMNS[metric]}"] / self.sums[f"{series}/counts"]
        )
        return errors


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """One forecaster of a comparison.

    Attributes:
        name: What to call it; no other entry is called so.
        kept: Its scorecards, one a seed, by ascending seed.
    """

    name: str
    kept: tuple[Kept, ...]

    @property
    def forecaster(self) -> Mapping[str, Any]:
        """What the manifest says of the forecaster, at its lowest seed."""
        return self.kept[0].card.forecaster

    @property
    def lines(self) -> tuple[SeriesLine, ...]:
        """The series, in the benchmark's order."""
        return self.kept[0].card.series

    def errors(self, series: str, metric: str) -> np.ndarray:
        """Returns the mean over seeds of the errors, float64 ``[windows, steps]``."""
        mean: np.ndarray = np.mean([one.errors(series, metric) for one in self.kept], axis=0)
        return mean


def read_entries(files: Sequence[Path]) -> tuple[Entry, ...]:
    """Returns the entries of scorecards, ordered by name, whatever the order of the files.

    Raises:
        UsageError: There are fewer than two files, or one is given twice.
        NotFound: A scorecard or its sums do not exist.
        InvalidInput: One is not valid, or does not follow from its sums.
        Refused: They are not of one benchmark, context length and scored set, or keep no sums.
    """
    if len(files) < 2:
        raise UsageError(f"compare: expected two or more scorecards, got {len(files)}")
    for file, count in Counter(file.resolve() for file in files).items():
        if count > 1:
            raise UsageError(f"{file}: is given {count} times; give each scorecard once")
    cards = {file: read_scorecard(file) for file in files}
    require_comparable(cards)
    kept = [_with_sums(file, card) for file, card in cards.items()]
    _require_same_windows(kept)
    return group(kept)


def require_comparable(cards: Mapping[Path, Scorecard]) -> None:
    """Checks that scorecards tell of the same targets, forecast from as many frames.

    Raises:
        Refused: They do not; says everything that differs, and in which files.
    """
    asked: dict[str, Callable[[Scorecard], object]] = {
        "benchmark digest": lambda card: card.benchmark["digest"],
        "context length": lambda card: card.benchmark["context"],
        "data digest": lambda card: card.data["digest"],
        "scored set": lambda card: card.scored_set,
        "missing mode": lambda card: card.missing,
    }
    differ = []
    for what, of in asked.items():
        found: dict[str, list[str]] = {}
        for file, card in sorted(cards.items()):
            try:
                found.setdefault(str(of(card)), []).append(str(file))
            except KeyError as error:
                raise InvalidInput(f"{file}: has no {what}") from error
        if len(found) > 1:
            said = (
                f"{shortened(value)} in {enumerated(list(map(legible, files)))}"
                for value, files in found.items()
            )
            differ.append(f"{what}: {'; '.join(said)}")
    if differ:
        raise Refused(
            "scorecards: can't be compared, they differ in\n"
            + "\n".join(differ)
            + "\ncompare those apart that agree"
        )


def group(kept: Sequence[Kept]) -> tuple[Entry, ...]:
    """Returns the entries: seeds of one forecaster together, everything else apart, by name.

    Cards are seeds of one forecaster where their manifests differ in nothing but the seed and what
    follows from it (checkpoint, cost), and no seed comes twice.
    """
    alike: dict[str, list[Kept]] = {}
    for one in sorted(kept, key=lambda one: str(one.file)):
        said = {k: v for k, v in one.card.forecaster.items() if k not in OF_A_SEED}
        alike.setdefault(json.dumps(said, sort_keys=True), []).append(one)
    sets: list[list[Kept]] = []
    for cards in alike.values():
        seeds = [one.card.forecaster.get("seed") for one in cards]
        together = None not in seeds and len(set(seeds)) == len(seeds)
        if together:
            cards.sort(key=lambda one: int(one.card.forecaster["seed"]))
        sets += [cards] if together else [[one] for one in cards]
    entries = [
        Entry(name=name, kept=tuple(cards)) for name, cards in zip(_names(sets), sets, strict=True)
    ]
    return tuple(sorted(entries, key=lambda entry: entry.name))


def _names(sets: Sequence[Sequence[Kept]]) -> list[str]:
    """Returns a name for each: the forecaster's, with the file where others have it too."""
    plain = [str(cards[0].card.forecaster.get("name") or "") for cards in sets]
    files = [cards[0].file for cards in sets]
    names = plain
    for labels in ([file.stem for file in files], [str(file) for file in files]):
        taken = Counter(names)
        fuller = [
            f"{name} ({label})" if name else label
            for name, label in zip(plain, labels, strict=True)
        ]
        names = [
            name if name and taken[name] == 1 else full
            for name, full in zip(names, fuller, strict=True)
        ]
    return names


def _with_sums(file: Path, card: Scorecard) -> Kept:
    """Returns a card with its sums, which its scores follow from."""
    if not card.sums:
        raise Refused(
            f"{file}: keeps no sums a window, so it can't be compared; score again with --json FILE"
        )
    try:
        name, digest = str(card.sums["file"]), str(card.sums["digest"])
        if Path(name).name != name:
            raise InvalidInput(f"{file}: its sums lie at {name!r}, expected a file beside it")
        if not {"protocol", "sampled", "summary_steps"} <= card.benchmark.keys():
            raise InvalidInput(f"{file}: was scored by an earlier version; score again")
        sums = read_window_sums(file.parent / name, digest)
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"{file}: does not say where its sums are: {error}") from error
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"{file.parent / name}: can't be read: {error}") from error
    kept = Kept(file=file, card=card, sums=sums)
    for finding in (*_findings(kept), *_summary_findings(card)):
        raise InvalidInput(f"{file}: {finding}; forecast and score again")
    return kept


def _findings(kept: Kept) -> Iterator[str]:
    """Yields what is wrong with sums, and where scores are not their means."""
    scores = {(s.series, s.step, s.metric): s.value for s in kept.card.scores}
    for line in kept.card.series:
        try:
            yield from _series_findings(kept, line, scores)
        except (KeyError, TypeError, ValueError) as error:
            yield f"its sums of {line.name!r} are not those of the scorecard: {error}"


def _series_findings(
    kept: Kept, line: SeriesLine, scores: Mapping[tuple[str, int, str], float | None]
) -> Iterator[str]:
    origins, counts = kept.origins(line.name), kept.sums[f"{line.name}/counts"]
    if origins.shape != (line.windows,) or (np.diff(origins) < 0).any():
        yield f"its sums of {line.name!r} have other windows than the scorecard"
        return
    if (counts <= 0).any():
        yield f"nothing of {line.name!r} is scored"
        return
    for metric in COLUMNS:
        errors = kept.errors(line.name, metric)
        if errors.shape != (line.windows, len(counts)) or not np.isfinite(errors).all():
            yield f"its sums of {line.name!r} are not numbers for each window and step"
            return
        for step, mean in enumerate(errors.mean(axis=0), 1):
            said = scores[line.name, step, metric]
            if said is None or abs(said - mean) > _TOLERANCE * abs(mean):
                yield (
                    f"{metric} of {line.name!r} at step {step} is {said}, but {mean:.12g} by its "
                    "sums"
                )
                return


def _summary_findings(card: Scorecard) -> Iterator[str]:
    """Yields where the summary is not the mean of the rows that it comes from."""
    steps = set(card.benchmark["summary_steps"])
    rows = [
        score.value
        for score in card.scores
        if score.series == "average" and score.metric == card.summary.metric and score.step in steps
    ]
    known = [value for value in rows if value is not None]
    mean = math.fsum(known) / len(known) if known and len(known) == len(rows) else None
    said = card.summary.value
    if said is not None and mean is not None and abs(said - mean) > _TOLERANCE * abs(mean):
        yield f"its summary is {said}, but {mean:.12g} by its rows"


def _require_same_windows(kept: Sequence[Kept]) -> None:
    """Checks what the digests promise: the same series, windows and numbers of errors."""
    first, *others = kept
    for other in others:
        if [(s.name, s.held_out, s.group) for s in other.card.series] != [
            (s.name, s.held_out, s.group) for s in first.card.series
        ]:
            raise InvalidInput(f"{other.file}: has other series than {first.file}; score again")
        for line in first.card.series:
            for what in ("origins", "counts"):
                key = f"{line.name}/{what}"
                if not np.array_equal(first.sums[key], other.sums[key]):
                    raise InvalidInput(
                        f"{other.file}: {what} of {line.name!r} differ from those in {first.file}; "
                        "score again"
                    )
