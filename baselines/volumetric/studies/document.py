"""The document of a study: what lies in its folder, so that nothing else is put beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from baselines.volumetric.studies.grid import Cell, Study
from zapeval.benchmarks.benchmark import Benchmark
from zapeval.errors import InvalidInput, Refused
from zapeval.recordings.documents import read_document
from zapeval.recordings.stores import open_store
from zapeval.recordings.writer import files_into

DOCUMENT = "study.json"


class CellPart(BaseModel):
    """What a cell of the study is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    forecaster: str
    settings: dict[str, Any]
    context: int


class StudyDocument(BaseModel):
    """What ``study.json`` holds; ``windows`` and ``data`` are digests of what is scored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal["zapeval.study/1"] = Field(default="zapeval.study/1", alias="schema")
    study: str
    benchmark: str
    windows: str
    data: str
    cells: dict[str, CellPart]

    def to_json(self) -> str:
        """Returns the document."""
        return self.model_dump_json(by_alias=True, indent=1) + "\n"


def document_of(study: Study, benchmark: Benchmark, data: str) -> StudyDocument:
    """Returns what a study says of itself.

    Args:
        study: The study.
        benchmark: The windows and neurons that it is scored on.
        data: Mark of the recordings.
    """
    return StudyDocument(
        study=study.name,
        benchmark=benchmark.label,
        windows=benchmark.digest,
        data=data,
        cells={cell.label: _part(cell) for cell in study.cells},
    )


def enter(folder: Path, document: StudyDocument) -> None:
    """Writes a study's document into its folder; cells that it lacks join those that are there.

    Raises:
        Refused: The folder holds another study, or a cell with other settings.
        InvalidInput: What lies there is no study's.
    """
    found = _read(folder)
    if found is None:
        merged = document
    else:
        for what in ("study", "benchmark", "windows", "data"):
            _check(folder, what, getattr(found, what), getattr(document, what))
        for label, cell in document.cells.items():
            for what, value in vars(found.cells.get(label, cell)).items():
                _check(folder, f"{label}: {what}", value, getattr(cell, what))
        merged = document.model_copy(update={"cells": {**found.cells, **document.cells}})
    with files_into(folder) as partial:
        (partial / DOCUMENT).write_text(merged.to_json(), encoding="utf-8")


def _read(folder: Path) -> StudyDocument | None:
    document = read_document(open_store(folder), DOCUMENT)
    if document is None:
        return None
    try:
        return StudyDocument.model_validate(document)
    except ValidationError as error:
        one = error.errors(include_url=False)[0]
        at = ".".join(map(str, one["loc"]))
        raise InvalidInput(f"{folder / DOCUMENT}: {at}: {one['msg']}") from error


def _check(folder: Path, what: str, got: object, expected: object) -> None:
    if got != expected:
        raise Refused(
            f"{folder}: holds a study of {what} {got}, not {expected}; choose another --out, or "
            "repeat the command as it was"
        )


def _part(cell: Cell) -> CellPart:
    return CellPart(
        forecaster=cell.forecaster,
        settings=dict(cell.settings),
        context=cell.context,
    )
