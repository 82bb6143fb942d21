"""The published ZAPBench table as entries: one a method, reported numbers only, each run a seed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from submissions.entry import write_entry
from submissions.fact_sheet import FactSheet
from submissions.reported import Curve, Reported, Source
from zapeval.benchmarks.dataframe import read_rows
from zapeval.benchmarks.published import (
    COLUMNS,
    METRICS,
    condition_of,
    error_of,
    find_table,
    whole,
)
from zapeval.benchmarks.zapbench import CITATION, CONDITIONS, HORIZON, PUBLISHED, ZAPBENCH
from zapeval.errors import InvalidInput

PREFIX = "zapbench-"
"""What the names of the entries begin with."""

MOST_METHODS = 100
"""Most methods that a table may have; the published one has 7."""

_PAPER = "https://arxiv.org/abs/2503.02618"
_CODE = "https://github.com/google-research/zapbench"
_SHOWN = 12

_KNOWN: Mapping[str, Mapping[str, Any]] = {
    "mean": {"training_data": "none"},
    "stimulus": {
        "future_stimulus": True,
        "leakage": "averages over trials that include test frames: all of open loop and dark, 268 "
        "of 399 of taxis, 1 of turning",
    },
    "tide": {"future_stimulus": True},
}
"""What the benchmark paper says of a method beyond the rule (Lueckmann et al. 2025)."""

_Key = tuple[str, int, str, str, str]
"""Method, context, run, condition, metric."""


@dataclass(kw_only=True)
class _Reading:
    """What has been read of a table so far: numbers by step, and conditions that are not known."""

    where: str
    values: dict[_Key, dict[int, float]] = field(default_factory=dict)
    ignored: set[str] = field(default_factory=set)


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import made: entries by name, and the conditions of the table that it left out."""

    entries: Mapping[str, Reported]
    ignored: tuple[str, ...]


def import_table(table: str, out: Path) -> Imported:
    """Writes an entry for each method of the published table.

    Args:
        table: The table, or the folder that holds it.
        out: Folder of the entries; those of the same names must not exist.

    Raises:
        NotFound: There is no table.
        InvalidInput: It is damaged, lacks steps, contradicts itself, or an entry exists.
    """
    uri, content = find_table(None, table)
    reading = read_table(content, uri)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    methods = sorted({key[0] for key in reading.values})
    made = {_slug(method): _reported(reading, method, digest) for method in methods}
    if len(made) != len(methods):
        raise InvalidInput(f"{uri}: two methods have names that make the same folder name")
    taken = [name for name in made if (out / name).exists()]
    if taken:
        raise InvalidInput(f"{out / taken[0]}: exists; remove it or choose another folder")
    for method in methods:
        reported = made[_slug(method)]
        write_entry(out / _slug(method), _sheet(method, reported), reported=reported)
    return Imported(entries=made, ignored=tuple(sorted(reading.ignored)))


def read_table(content: bytes, where: str) -> _Reading:
    """Returns every number of a table.

    Raises:
        InvalidInput: It is damaged, lacks steps, or gives two numbers for one thing.
    """
    reading = _Reading(where=where)
    for number, row in enumerate(read_rows(content, where, COLUMNS)):
        _take(reading, number, row)
    if not reading.values:
        raise InvalidInput(f"{where}: has no row of a known condition")
    methods = {key[0] for key in reading.values}
    if len(methods) > MOST_METHODS:
        raise InvalidInput(f"{where}: has {len(methods):,} methods, expected at most 100")
    lacking = [
        f"{metric} of {name}, {method} at context {context}, run {run!r}"
        for (method, context, run, name, metric), steps in reading.values.items()
        if sorted(steps) != list(range(1, HORIZON + 1))
    ]
    if lacking:
        more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
        raise InvalidInput(
            f"{where}: expected steps 1 to {HORIZON} of {'; of '.join(lacking[:_SHOWN])}{more}"
        )
    return reading


def _take(reading: _Reading, number: int, row: Mapping[str, Any]) -> None:
    where = f"{reading.where}: row {number}"
    name = condition_of(row["condition"])
    if name is None:
        reading.ignored.add(str(row["condition"])[:40])
        return
    method, context, step = row["method"], whole(row["context"]), whole(row["steps_ahead"])
    for column, found in (("context", context), ("steps_ahead", step)):
        if found is None or found < 1:
            raise InvalidInput(
                f"{where}: {column} is {row[column]!r:.40}, expected a number from 1"
            )
    if not isinstance(method, str) or not re.fullmatch(r"\w[\w .+-]{0,39}", method):
        raise InvalidInput(f"{where}: method is {method!r:.40}, expected a name")
    run = _run(row.get("xid"), where)
    for metric, column in METRICS.items():
        value = error_of(row.get(column), f"{where}: {column}")
        if value is None:
            continue
        steps = reading.values.setdefault((method, int(context or 0), run, name, metric), {})
        if steps.setdefault(int(step or 0), value) != value:
            raise InvalidInput(
                f"{where}: {column} of {name} at step {step} is {value!r}, but another row of "
                f"{method}, context {context}, run {run!r} says {steps[int(step or 0)]!r}"
            )


def _run(value: object, where: str) -> str:
    """Returns what tells a run from others as text, "" where the table does not say."""
    number = whole(value)
    run = "" if value is None else str(value if number is None else number)
    if not re.fullmatch(r"[\w.-]{0,40}", run):
        raise InvalidInput(f"{where}: xid is {run!r:.40}, expected a number or a name")
    return run


def _reported(reading: _Reading, method: str, digest: str) -> Reported:
    keys = sorted(
        (key for key in reading.values if key[0] == method),
        key=lambda key: (key[1], _natural(key[2]), CONDITIONS.index(key[3]), key[4]),
    )
    return Reported(
        benchmark=ZAPBENCH.label,
        source=Source(what=f"{PUBLISHED}, method {method}", digest=digest),
        curves=[
            Curve(
                context=key[1],
                seed=key[2],
                series=key[3],
                metric="mae" if key[4] == "mae" else "mse",
                values=[value for _, value in sorted(reading.values[key].items())],
            )
            for key in keys
        ],
    )


def _sheet(method: str, reported: Reported) -> FactSheet:
    said: dict[str, Any] = {
        "name": f"ZAPBench {method}",
        "authors": [CITATION.partition(" 20")[0]],
        "code": _CODE,
        "paper": _PAPER,
        "training_data": f"training frames of {ZAPBENCH.label}",
        "future_stimulus": False,
        "model_per_step": False,
        "leakage": "none known",
        "seeds": _seeds(seed for c in reported.contexts for seed in reported.seeds(c)),
    }
    return FactSheet.model_validate(said | dict(_KNOWN.get(method, {})))


def _seeds(runs: Iterable[str]) -> list[str]:
    return [run for run in dict.fromkeys(runs) if run]


def _natural(run: str) -> tuple[int, str]:
    return (int(run), "") if run.isascii() and run.isdigit() else (0, run)


def _slug(method: str) -> str:
    return PREFIX + re.sub(r"[^a-z0-9]+", "-", method.casefold()).strip("-")
