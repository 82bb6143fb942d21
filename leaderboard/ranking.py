"""Ranking: the standings of a board, made from the scorecards and sums that were kept.

Everything statistical is zapeval's comparison; here entries are read, put in order and described.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from leaderboard.tables import Board, Entry, Result
from zapeval.errors import ZapevalError

if TYPE_CHECKING:
    from zapeval.reports.comparison import Comparison
    from zapeval.reports.comparison import Row as Compared

COMPARED = 100
"""Most entries that are compared pair by pair: the best of the board."""

BASELINE = "persistence"
"""Forecaster that skill is relative to, where an entry of ours is on the board."""

Facts = dict[str, dict[str, Any]]
"""What a result's scorecard says of it, by its id; results never change."""

_Number = dict[str, float | None]
_ENDS = ("value", "low", "high")


@final
@dataclass(kw_only=True)
class Line:
    """One entry on its way into the standings.

    Attributes:
        row: What is known of it.
        value: Its summary; None where it is undefined.
        metric: Metric of the summary.
        steps: Steps of the summary.
        forecaster: Name of its forecaster, or "".
        results: Ids of the results of its newest version, by seed.
        apart: Whether it is not ranked.
    """

    row: dict[str, Any]
    value: float | None
    metric: str
    steps: Sequence[int]
    forecaster: str = ""
    results: Sequence[str] = ()
    apart: bool = False

    @property
    def slug(self) -> str:
        """Its name in addresses."""
        return str(self.row["slug"])


def standings(session: Session, board: Board, *, facts: Facts | None = None) -> dict[str, Any]:
    """Returns the standings of a board as they are stored; see standings.py.

    Args:
        session: A session that reads.
        board: The board.
        facts: What is known of results already; what is not is added.
    """
    known: Facts = {} if facts is None else facts
    lines = _lines(session, board, known)
    reported = list(_reported(session, board))
    first = next(iter((*lines, *reported)), None)
    sign = -1.0 if first is not None and first.metric == "correlation" else 1.0
    ranked = sorted((one for one in lines if not one.apart), key=lambda one: _place(one, sign))
    for place, (before, line) in enumerate(zip((None, *ranked), ranked, strict=False), 1):
        equal = before is not None and before.value == line.value
        line.row["rank"] = before.row["rank"] if before is not None and equal else place
    made, reason = _compared(session, ranked[:COMPARED])
    if made is not None:
        _describe(ranked, made)
        if len(ranked) > COMPARED:
            reason = f"rank intervals and pairs are among the best {COMPARED}"
    apart = sorted((one for one in lines if one.apart), key=lambda one: _place(one, sign))
    shown = sorted([*ranked, *reported], key=lambda one: _place(one, sign))
    ids = {_key(line): str(line.row["entry"]) for line in ranked}
    return {
        "revision": board.revision,
        "metric": "mae" if first is None else first.metric,
        "steps": [] if first is None else list(first.steps),
        "baseline": None if made is None or not made.baseline else made.baseline.split("/")[0],
        "method": None if made is None else made.method,
        "reason": reason,
        "rows": [line.row for line in (*shown, *apart)],
        "pairs": [] if made is None else [_pair(pair.to_document(), ids) for pair in made.pairs],
    }


def _lines(session: Session, board: Board, known: Facts) -> list[Line]:
    """Returns the scored entries that anybody may see."""
    newest = (
        select(Result.entry_id, func.max(Result.version).label("version"))
        .group_by(Result.entry_id)
        .subquery()
    )
    query = (
        select(*_OF_ENTRY, Result.id.label("result"), Result.version, Result.created.label("at"))
        .join(Result, Result.entry_id == Entry.id)
        .join(
            newest,
            (newest.c.entry_id == Result.entry_id) & (newest.c.version == Result.version),
        )
        .where(Entry.board_id == board.id, *_VISIBLE)
        .order_by(Entry.slug, Result.seed, Result.id)
    )
    found: dict[str, list[Any]] = {}
    for row in session.execute(query):
        found.setdefault(row.id, []).append(row)
    _learn(session, [row.result for rows in found.values() for row in rows], known)
    return [_line(rows, [known[row.result] for row in rows]) for rows in found.values()]


_OF_ENTRY = (
    *(Entry.id, Entry.slug, Entry.name, Entry.origin, Entry.baseline, Entry.verified),
    *(Entry.flag, Entry.fact_sheet, Entry.created, Entry.published),
)
_VISIBLE = (Entry.visibility == "public", Entry.withdrawn == "")


def _line(rows: Sequence[Any], facts: Sequence[dict[str, Any]]) -> Line:
    """Returns the line of an entry from the rows and facts of its seeds."""
    first = rows[0]
    partial = any(one["partial"] for one in facts)
    summary = _mean_number([one["summary"] for one in facts])
    steps = facts[0]["by_step"]
    row = _described(first, first.at) | {
        "mark": "partial" if partial else "",
        "summary": summary or _number(None),
        "seeds": len(rows),
        "version": first.version,
        "by_step": {step: _mean_number([one["by_step"][step] for one in facts]) for step in steps},
        "average": _mean_number([one["average"] for one in facts]),
        "held_out": _mean_number([one["held_out"] for one in facts]),
        "correlation": _mean_number([one["correlation"] for one in facts]),
        "cost": _cost([one["cost"] for one in facts], first.fact_sheet),
    }
    value = None if summary is None else summary["value"]
    return Line(
        row=row,
        value=value,
        metric=facts[0]["metric"],
        steps=facts[0]["steps"],
        forecaster=str(facts[0]["forecaster"] or ""),
        results=[one.result for one in rows],
        apart=partial or value is None,
    )


def _described(row: Any, submitted: datetime) -> dict[str, Any]:
    """Returns what stands in a row whether it is scored or reported."""
    return {
        "entry": row.id,
        "slug": row.slug,
        "name": row.name,
        "origin": row.origin,
        "baseline": row.baseline,
        "mark": "",
        "rank": None,
        "ranks": None,
        "group": None,
        "two_se": None,
        "skill": None,
        "wins": None,
        "future_stimulus": bool(row.fact_sheet.get("future_stimulus")),
        "verified": row.verified is not None,
        "flag": row.flag,
        "submitted": submitted.isoformat(),
    }


def _reported(session: Session, board: Board) -> Iterable[Line]:
    """Yields what was published of the same benchmark and context length, whatever the data."""
    query = (
        select(*_OF_ENTRY, Entry.reported)
        .join(Board, Board.id == Entry.board_id)
        .where(
            Board.digest == board.digest,
            Board.context == board.context,
            Entry.reported.is_not(None),
            *_VISIBLE,
        )
        .order_by(Entry.slug)
    )
    for row in session.execute(query):
        said = row.reported
        if not said:
            continue
        yield Line(
            row=_described(row, row.published or row.created)
            | {
                "mark": "reported",
                "summary": _number(said["summary"]),
                "two_se": said["two_se"],
                "seeds": said["seeds"],
                "version": 1,
                "by_step": {step: _number(value) for step, value in said["by_step"].items()},
                "average": _number(said["average"]),
                "held_out": _number(said["held_out"]),
                "correlation": None,
                "cost": _cost([], row.fact_sheet),
            },
            value=said["summary"],
            metric=said["metric"],
            steps=said["steps"],
        )


def _compared(session: Session, lines: Sequence[Line]) -> tuple[Comparison | None, str | None]:
    """Returns the comparison of ranked lines, or why there is none."""
    from zapeval.reports.comparison import compare

    with tempfile.TemporaryDirectory() as folder:
        entries, without = _entries(session, lines, Path(folder))
    if not entries:
        return None, "no scorecard keeps the sums that intervals are made from" if lines else None
    base = next(
        (_key(line) for line in lines if _is_baseline(line) and _key(line) in entries), None
    )
    try:
        made = compare(list(entries.values()), baseline=base)
    except ZapevalError as error:
        return None, str(error)
    reason = made.reason
    if without:
        reason = (
            f"{reason + '; ' if reason else ''}not compared, as no sums are kept: "
            + ", ".join(without[:6])
        )
    return made, reason


def _entries(
    session: Session, lines: Sequence[Line], folder: Path
) -> tuple[dict[str, Any], list[str]]:
    """Returns entries of a comparison by their key, and the slugs of those that keep no sums."""
    from submissions.card import read_card
    from zapeval.reports.entries import Entry as Contender
    from zapeval.reports.entries import Kept

    found: dict[str, Any] = {}
    without = []
    for line in lines:
        kept = []
        for result in line.results:
            file = _written(session, result, folder)
            card = None if file is None else read_card(file)[0]
            if card is not None and file is not None and card.sums is not None:
                kept.append(Kept(file=Path(file.name), card=card.card, sums=card.sums))
        if len(kept) == len(line.results):
            found[_key(line)] = Contender(name=_key(line), kept=tuple(kept))
        else:
            without.append(line.slug)
    return found, without


def _written(session: Session, result: str, folder: Path) -> Path | None:
    """Writes a kept scorecard with its sums; None where there are none."""
    row = session.execute(select(Result.card, Result.sums).where(Result.id == result)).one()
    named = json.loads(row.card)["sums"]
    if row.sums is None or named is None:
        return None
    own = folder / result
    own.mkdir()
    name = Path(str(named["file"])).name
    (own / name).write_bytes(row.sums)
    card = own / f"{name.removesuffix('.windows.npz')}.json"
    card.write_text(row.card, encoding="utf-8")
    return card


def _describe(lines: Sequence[Line], made: Comparison) -> None:
    """Adds what the comparison says of each line."""
    rows: dict[str, Compared] = {row.entry.name: row for row in made.rows}
    for line in lines:
        found = rows.get(_key(line))
        if found is None:
            continue
        line.row["ranks"] = None if found.ranks is None else [found.ranks.low, found.ranks.high]
        line.row["group"] = found.group
        line.row["two_se"] = _plain(found.over_seeds)
        line.row["skill"] = _estimate(found.skill)
        line.row["wins"] = _estimate(found.wins)
        if len(line.results) > 1:
            # Of the mean over seeds; the mean of their intervals would be too wide.
            ends = {"low": _plain(found.score.low), "high": _plain(found.score.high)}
            line.row["summary"] = line.row["summary"] | ends


def _key(line: Line) -> str:
    # By slug, so that equal scores stand in its order; never the bare name of a forecaster.
    return f"{line.slug}/{line.row['entry']}"


def _is_baseline(line: Line) -> bool:
    return bool(line.row["baseline"]) and line.forecaster == BASELINE


def _pair(document: Mapping[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
    sides = {"a": ids[document["first"]], "b": ids[document["second"]]}
    numbers = ("difference", "low", "high", "p", "adjusted")
    return sides | {key: _plain(document[key]) for key in numbers}


def _learn(session: Session, results: Sequence[str], known: Facts) -> None:
    """Adds the facts of results that are not known yet; a few scorecards at a time."""
    new = [result for result in results if result not in known]
    for start in range(0, len(new), 64):
        query = select(Result.id, Result.card).where(Result.id.in_(new[start : start + 64]))
        for row in session.execute(query):
            known[row.id] = _facts(json.loads(row.card))


def _facts(card: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the standings show of a scorecard."""
    metric, steps = card["summary"]["metric"], card["benchmark"]["summary_steps"]
    scores = {(s["series"], s["step"], s["metric"]): s for s in card["scores"]}
    every = sorted({step for name, step, kind in scores if (name, kind) == ("average", metric)})
    held = [line["name"] for line in card["series"] if line["held_out"]]

    def mean(series: Sequence[str], at: Sequence[int], kind: str) -> _Number | None:
        return _number(_mean([scores[s, step, kind]["value"] for s in series for step in at]))

    return {
        "metric": metric,
        "steps": steps,
        "partial": card["partial"],
        "summary": {key: card["summary"][key] for key in _ENDS},
        "by_step": {
            str(step): {
                key: scores["average", step, metric][key] for key in ("value", "low", "high")
            }
            for step in steps
        },
        "average": mean(["average"], every, metric),
        "held_out": mean(held, steps, metric) if held else None,
        "correlation": mean(["average"], steps, "correlation"),
        "cost": card["forecaster"].get("cost") or {},
        "forecaster": card["forecaster"].get("name"),
    }


def _cost(said: Sequence[Mapping[str, Any]], sheet: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the cost by the manifests, and by the fact sheet what these do not say."""
    declared = sheet.get("cost") or {}
    hours = declared.get("training_hours")
    found = {
        "parameters": declared.get("parameters"),
        "training_seconds": None if hours is None else hours * 3600,
        "hardware": declared.get("hardware") or "",
    }
    for key in ("parameters", "training_seconds"):
        known = [one[key] for one in said if isinstance(one.get(key), int | float)]
        if known:
            found[key] = known[0] if len(set(known)) == 1 else math.fsum(known) / len(known)
    hardware = dict.fromkeys(str(one["hardware"]) for one in said if one.get("hardware"))
    if hardware:
        found["hardware"] = "; ".join(hardware)
    return {key: value for key, value in found.items() if value not in (None, "")}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def _number(value: float | None) -> _Number:
    return {"value": value, "low": None, "high": None}


def _mean_number(numbers: Sequence[_Number | None]) -> _Number | None:
    """Returns the mean of values and of ends; that of ends is never too narrow."""
    known = [one for one in numbers if one is not None]
    if not known or len(known) < len(numbers):
        return None
    if len(known) == 1:
        return known[0]
    return {key: _mean([one[key] for one in known]) for key in _ENDS}


def _estimate(found: Any) -> _Number | None:
    if found is None:
        return None
    return {key: _plain(getattr(found, key)) for key in _ENDS}


def _plain(value: float | None) -> float | None:
    """Returns a number as JSON holds it, and not NumPy."""
    return None if value is None else float(value)


def _place(line: Line, sign: float) -> tuple[bool, float, str]:
    return line.value is None, 0.0 if line.value is None else sign * line.value, line.slug
