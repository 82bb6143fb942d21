"""Tables: scorecards as the terminal shows them, and the same as plain lines."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zapeval.errors import NotFound, UsageError
from zapeval.scoring.scorecard import Score, Scorecard

ROWS = 40
"""Most series that a table lists; the averages are always there."""

NAMED = 6
"""Most names or notes that a footnote lists."""

NONE = "-"
"""What stands for a number that does not exist; a footnote says why."""

BLANK = box.Box("    \n" * 8)
"""Edges of plain lines."""

Cells = tuple[str, ...]
Values = tuple[float | None, ...]
Scores = Mapping[tuple[str, int], Score]


def scorecard_table(card: Scorecard, benchmark_steps: Sequence[int], metric: str = "mae") -> Table:
    """Returns a scorecard as a table: series, averages, what is held out; then its identity.

    Raises:
        NotFound: The scorecard has no such metric or step.
    """
    scores = scores_by_step(card, metric)
    trained = [line for line in card.series if not line.held_out]
    held = [line.name for line in card.series if line.held_out]
    windows = {line.name: line.windows for line in card.series}
    averages = ["average", *sorted({f"average:{line.group}" for line in trained if line.group})]
    for name in averages:
        windows[name] = sum(s.windows for s in trained if name in ("average", f"average:{s.group}"))
    rows = {name: _values(scores, name, benchmark_steps) for name in windows}
    written = written_alike(rows.values())

    def cells(names: Sequence[str], most: int, suffix: str = "") -> list[Cells]:
        shown = [
            (legible(name) + suffix, str(windows[name]), *map(written, rows[name]))
            for name in names[:most]
        ]
        return [*shown, *[(f"… and {len(names) - most} more; see --csv",)] * (len(names) > most)]

    apart = len(held) if len(card.series) <= ROWS else min(len(held), ROWS // 4)
    listed = cells([line.name for line in trained], ROWS - apart)
    notes = [*_findings(card, scores, benchmark_steps, metric), *_interval(card, metric)]
    return table_of(
        _title(card, metric),
        ("series", "windows", *_headings(benchmark_steps)),
        [listed, cells(averages, len(averages)), cells(held, apart, " (held out)")],
        [*notes, *_identity(card)],
    )


def ranking_table(cards: Sequence[Scorecard], benchmark_steps: Sequence[int]) -> Table:
    """Returns cards ranked by summary within each context length; partial ones unranked, last.

    Raises:
        UsageError: There are no cards, or they are not of one benchmark and the same data.
        NotFound: A card has no score at one of the steps.
    """
    require_one_task(cards)
    first, names, places = cards[0], names_of(cards), [_place(card) for card in cards]
    rows = [_ranking_values(card, benchmark_steps) for card in cards]
    written = written_alike(rows)

    def cells(i: int) -> Cells:
        rank = 1 + sum(place[:2] == places[i][:2] and place < places[i] for place in places)
        context = str(cards[i].benchmark["context"])
        return (NONE if places[i][0] else str(rank), names[i], context, *map(written, rows[i]))

    order = sorted(range(len(cards)), key=places.__getitem__)
    apart = [names[i] for i in order if places[i][0]]
    notes = [f"{NONE} unranked, partial or without summary: {enumerated(apart)}"] if apart else []
    scored = ("summary", *_headings(benchmark_steps)[:-1], "held out")[: len(rows[0])]
    identity = f"{shortened(first.benchmark['digest'])}, data {shortened(first.data['digest'])}"
    return table_of(
        f"average {first.summary.metric} on {label_of(first)}, ranked by the summary: the mean of "
        f"step {', '.join(map(str, benchmark_steps))}",
        ("rank", "forecaster", "C", *scored),
        [list(map(cells, of)) for _, of in groupby(order, lambda i: places[i][:2])],
        [*notes, f"C is the context length in frames; benchmark {identity}"],
    )


def scores_by_step(card: Scorecard, metric: str) -> Scores:
    """Returns a scorecard's scores of one metric by (series, step).

    Raises:
        NotFound: The scorecard has no such metric; the message lists those it has.
    """
    found = {(score.series, score.step): score for score in card.scores if score.metric == metric}
    if not found:
        known = ", ".join(dict.fromkeys(score.metric for score in card.scores))
        raise NotFound(f"scorecard: has no metric {metric!r}; known: {known}")
    return found


def names_of(cards: Sequence[Scorecard]) -> tuple[str, ...]:
    """Returns what to call each card: its forecaster and seed, numbered where that is taken."""
    called = [(_name(card), card.benchmark["context"]) for card in cards]
    return tuple(
        f"{one[0]} ({called[: index + 1].count(one)})" if called.count(one) > 1 else one[0]
        for index, one in enumerate(called)
    )


def mean_of(values: Iterable[float | None]) -> float | None:
    """Returns the mean, or None where a member is None or there is none."""
    members = tuple(values)
    known = [value for value in members if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(members) else None


def legible(text: object) -> str:
    """Returns text of others without what could steer a terminal or mislead a reader."""
    return "".join(mark if mark.isprintable() else "\ufffd" for mark in str(text))


def label_of(card: Scorecard) -> str:
    """Returns id and version of a card's benchmark: ``zapbench@1``."""
    return legible(f"{card.benchmark['id']}@{card.benchmark['version']}")


def require_one_task(cards: Sequence[Scorecard]) -> None:
    """Checks that scorecards may stand side by side.

    Raises:
        UsageError: There are none, or they are not of one benchmark and the same target frames.
    """
    for what in ("benchmark", "data"):
        digests = sorted({str(getattr(card, what)["digest"]) for card in cards})
        if len(digests) != 1:
            got = enumerated([shortened(digest) for digest in digests]) or "no scorecard"
            raise UsageError(
                f"scorecards: expected one {what} digest, got {got}; report them apart"
            )


def _values(scores: Scores, series: str, steps: Sequence[int]) -> Values:
    """Returns the scores at the steps, then their mean where there are several."""
    absent = [step for step in steps if (series, step) not in scores]
    if absent:
        raise NotFound(f"scorecard: has no score of {series!r} at step {absent[0]}")
    values = tuple(scores[series, step].value for step in steps)
    return (*values, mean_of(values)) if len(steps) > 1 else values


def _headings(steps: Sequence[int]) -> Cells:
    return (*(f"step {step}" for step in steps), *["mean"] * (len(steps) > 1))


def written_alike(rows: Iterable[Values]) -> Callable[[float | None], str]:
    """Returns how numbers are written, all with the same decimals: five, more for small ones."""
    largest = max((abs(value) for row in rows for value in row if value), default=1.0)
    decimals = min(max(5, 3 - math.floor(math.log10(largest))), 12)

    def write(value: float | None) -> str:
        form = "f" if abs(value or 0.0) < 1e6 else "e"
        return NONE if value is None else f"{value:.{decimals}{form}}"

    return write


def _title(card: Scorecard, metric: str) -> str:
    title = f"{metric} of {_name(card)} on {label_of(card)}, context {card.benchmark['context']}"
    lacking = sum(line.missing > 0 for line in card.series)
    where = f"neurons without predictions in {lacking} of {len(card.series)} series"
    return f"{title} (partial: {where}; never ranked)" if card.partial else title


def _identity(card: Scorecard) -> Iterator[str]:
    version = legible(card.forecaster.get("version") or "unknown")
    yield f"forecaster {_name(card)}, version {version}"
    yield f"predictions {shortened(card.predictions['digest'])}, {card.predictions['kind']}"
    yield f"benchmark {label_of(card)}, {shortened(card.benchmark['digest'])}"
    yield f"data {shortened(card.data['digest'])}, scored set {shortened(card.scored_set)}"


def _findings(card: Scorecard, scores: Scores, steps: Sequence[int], metric: str) -> Iterator[str]:
    """Yields why numbers are absent, which neurons are left out, and the card's own notes."""
    why = "every neuron is constant on a side" if metric == "correlation" else "nothing is scored"
    null, missing, constant = [], [], []
    for line in card.series:
        name = legible(line.name)
        cells = [scores[line.name, step] for step in steps]
        if any(cell.value is None for cell in cells):
            null.append(name)
        if line.missing:
            missing.append(f"{name} {line.missing} of {line.neurons}")
        counts = {cell.undefined for cell in cells}
        if any(counts):
            span = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
            constant.append(f"{name} {span} of {line.scored}")
    if null:
        yield f"{NONE} is undefined, in {enumerated(null)}: {why}; so is every mean over it"
    if missing:
        rule = "whose errors count as zero" if card.missing == "official" else "left out"
        yield f"neurons without predictions, {rule}: {enumerated(missing)}"
    if constant:
        yield f"neurons left out of the correlation for being constant: {enumerated(constant)}"
    yield from (f"note: {legible(note)}" for note in card.notes[:NAMED])
    if len(card.notes) > NAMED:
        yield f"… and {len(card.notes) - NAMED} more notes; see --json"


def _interval(card: Scorecard, metric: str) -> Iterator[str]:
    summary, reason = card.summary, card.intervals.get("reason")
    if metric == summary.metric and summary.low is not None and summary.high is not None:
        level = f"{100 * float(card.intervals.get('level', 0.95)):.0f} %"
        write = written_alike([(summary.low, summary.high)])
        yield f"summary, {level} interval: {write(summary.low)} to {write(summary.high)}"
    elif metric == summary.metric and reason:
        yield f"summary has no interval: {legible(reason)}"


def _place(card: Scorecard) -> tuple[bool, int, float]:
    """Returns what cards are ordered by: whether unranked, context length, badness."""
    if card.partial or card.summary.value is None:
        return True, 0, 0.0
    sign = -1.0 if card.summary.metric == "correlation" else 1.0
    return False, card.benchmark["context"], sign * card.summary.value


def _ranking_values(card: Scorecard, steps: Sequence[int]) -> Values:
    """Returns the summary, the average at several steps, and the mean of what is held out."""
    scores = scores_by_step(card, card.summary.metric)
    average = _values(scores, "average", steps)[:-1]
    held = [_values(scores, line.name, steps)[-1] for line in card.series if line.held_out]
    return (card.summary.value, *average, *([mean_of(held)] if held else []))


def _name(card: Scorecard) -> str:
    name = legible(card.forecaster.get("name") or "unnamed forecaster")
    seed = card.forecaster.get("seed")
    return name if seed is None else f"{name}, seed {legible(seed)}"


def shortened(digest: object) -> str:
    """Returns a digest's scheme and first twelve digits."""
    scheme, _, digits = legible(digest or "no digest").rpartition(":")
    return f"{scheme}:{digits[:12]}".lstrip(":")


def enumerated(names: Sequence[str]) -> str:
    """Returns the first few names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def table_of(
    title: str, header: Cells, sections: Sequence[Sequence[Cells]], notes: Sequence[str]
) -> Table:
    """Returns a table with a title, sections apart, and notes below."""
    table = Table(title=Text(title), caption=Text("\n".join(notes)), box=box.HORIZONTALS, padding=0)
    table.title_justify = table.caption_justify = "left"
    table.show_edge = table.pad_edge = False
    for heading in header:
        if heading in ("series", "forecaster"):
            table.add_column(heading, min_width=8, overflow="fold")
        else:
            table.add_column(heading, justify="right", no_wrap=True)
    for section in sections:
        for row in section:
            table.add_row(*map(Text, row), end_section=row is section[-1])
    return table


def as_plain(table: Table) -> str:
    """Returns the content of a table as aligned text; prose begins with ``#``."""
    title, notes = str(table.title), str(table.caption).splitlines()
    table.title = table.caption = None
    table.box, table.padding = BLANK, (0, 1, 0, 0)
    text = io.StringIO()
    Console(file=text, width=10_000, color_system=None, force_jupyter=False).print(table)
    rows = [line.rstrip() for line in text.getvalue().splitlines()]
    return "\n".join([f"# {title}", *rows, *(f"# {note}" for note in notes)]) + "\n"
