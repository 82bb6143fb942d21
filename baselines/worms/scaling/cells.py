"""Cells: one trained model of a grid each, in a file of its own, with what it was made by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zapeval.errors import InvalidInput, StorageError

FOLDER = "cells"
"""Where the files lie, in the folder of an experiment."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """One model to train.

    Attributes:
        model: Name of the forecaster.
        hidden: Its width; None where it has none to choose.
        worms: Worms to train on.
        seed: Seed of the draw, of the weights, of shuffles and of dropout.
        configuration: All that its numbers hang on, by name.
    """

    model: str
    hidden: int | None
    worms: int
    seed: int
    configuration: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name, which no other cell of a grid has."""
        width = "" if self.hidden is None else f"-h{self.hidden}"
        return f"{self.model}{width}-n{self.worms}-s{self.seed}"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of its configuration, in hex."""
        return hashlib.sha256(_text(self.configuration).encode()).hexdigest()


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


@final
class SourceLoss(_Part):
    """Validation losses over the worms of one source, or of all.

    Attributes:
        source: Name of the source, or "" for all.
        worms: Worms that it is measured on.
        loss: Mean over worms (Eq. 4).
        pooled: Mean over all labelled entries.
        naive: Loss of the forecast that nothing changes.
        naive_pooled: The same, pooled.
    """

    source: str
    worms: int
    loss: float
    pooled: float
    naive: float
    naive_pooled: float


@final
class Trace(_Part):
    """A neuron that is generated: 180 frames seen, 180 that followed, and 180 generated.

    What a model generates is null from where it leaves the range of float32.
    """

    worm: str
    neuron: str
    seen: tuple[float, ...]
    followed: tuple[float, ...]
    generated: tuple[float | None, ...]


@final
class Generation(_Part):
    """How far what is generated goes astray, by steps ahead.

    Attributes:
        worms: Worms that it is measured on, one window each.
        loss: Mean over worms, one a step ahead; None from where it leaves the range of float32.
        naive: The same of the forecast that nothing changes.
        traces: Some neurons of the first worm.
    """

    worms: int
    loss: tuple[float | None, ...]
    naive: tuple[float, ...]
    traces: tuple[Trace, ...]


@final
class Result(_Part):
    """What came of a cell.

    Attributes:
        train_steps: Different frames that it learned from, of all its worms.
        counted: Parameters as the paper counts.
        live: Parameters that learn.
        losses: Validation losses, of all first, then by source.
        steps: Steps done.
        best_step: Step whose parameters are kept.
        seconds: Time that its training took since it last went on; of those trained together, its
            share.
        drawn: Names of the worms that it learned from.
        curve: Step, training loss and validation loss of each validation.
        generation: What it generates; None unless asked for.
    """

    train_steps: int
    counted: int
    live: int
    losses: tuple[SourceLoss, ...]
    steps: int
    best_step: int
    seconds: float
    drawn: tuple[str, ...]
    curve: tuple[tuple[int, float, float], ...]
    generation: Generation | None = None

    @property
    def overall(self) -> SourceLoss:
        """Validation losses over all worms."""
        return self.losses[0]


@final
class Document(_Part):
    """The file of a cell."""

    # "schema" is a method of pydantic's models.
    schema_: Literal["zapeval.scaling-cell/1"] = Field(
        default="zapeval.scaling-cell/1", alias="schema"
    )
    model: str
    hidden: int | None
    worms: int
    seed: int
    digest: str
    configuration: dict[str, Any]
    result: Result


def write(folder: Path, cell: Cell, result: Result) -> None:
    """Writes the file of a finished cell; it is there whole or not at all.

    Raises:
        StorageError: It can't be written.
    """
    document = Document(
        model=cell.model,
        hidden=cell.hidden,
        worms=cell.worms,
        seed=cell.seed,
        digest=cell.digest,
        configuration=dict(cell.configuration),
        result=result,
    )
    path = _path(folder, cell)
    partial = path.with_suffix(".part")
    try:
        text = document.model_dump_json(indent=1, by_alias=True)
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise StorageError(f"{path}: can't be written: {error.strerror}") from error


def done(folder: Path, cell: Cell) -> bool:
    """Tells whether a cell is finished.

    Raises:
        InvalidInput: Its file is of other settings, or can't be read.
    """
    path = _path(folder, cell)
    if not path.exists():
        return False
    found = read(path)
    if found.digest == cell.digest:
        return True
    theirs, ours = found.configuration, json.loads(_text(cell.configuration))
    changed = [
        f"{name} {theirs.get(name)!r}, now {ours.get(name)!r}"
        for name in {**theirs, **ours}
        if theirs.get(name) != ours.get(name)
    ]
    raise InvalidInput(
        f"{path}: was made with other settings ({'; '.join(changed) or 'its digest differs'}); "
        "choose another --out, or repeat the command with those"
    )


def read(path: Path) -> Document:
    """Returns the file of a finished cell.

    Raises:
        InvalidInput: It is none.
        StorageError: It can't be read.
    """
    try:
        return Document.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(f"{path}: can't be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InvalidInput(
            f"{path}: is no finished cell ({where}: {first['msg']}); remove it to train it again"
        ) from error


def _path(folder: Path, cell: Cell) -> Path:
    return folder / FOLDER / f"{cell.name}.json"


def _text(configuration: Mapping[str, Any]) -> str:
    return json.dumps(configuration, sort_keys=True)
