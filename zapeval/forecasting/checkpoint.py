"""A checkpoint: what a forecaster has learned, and what it learned it from.

A folder: ``checkpoint.json`` says who was trained on what, ``model/`` is the forecaster's own, and
beside them lie the records of its training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zapeval.benchmarks.benchmark import Benchmark
from zapeval.errors import (
    BrokenPlugin,
    InvalidInput,
    NotFound,
    StorageError,
    UsageError,
    ZapevalError,
)
from zapeval.forecasting.forecaster import Forecaster
from zapeval.forecasting.manifest import BenchmarkPart, CostPart, ForecasterPart, digest_of, said_of
from zapeval.recordings.documents import read_document
from zapeval.recordings.recording import Recordings
from zapeval.recordings.stores import open_store

DOCUMENT = "checkpoint.json"
MODEL = "model"


class Checkpoint(BaseModel):
    """What ``checkpoint.json`` holds.

    ``model`` is the digest of the files in ``model/``, ``settings`` the arguments that the
    forecaster was made with on the command line.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    schema_: Literal["zapeval.checkpoint/1"] = Field(default="zapeval.checkpoint/1", alias="schema")
    forecaster: ForecasterPart
    settings: dict[str, Any] = {}
    benchmark: BenchmarkPart
    context: Annotated[int, Field(ge=1)]
    neurons: dict[str, int]
    data: str = ""
    seed: int
    training_data: str = ""
    model: str = ""
    cost: CostPart | None = None
    software: dict[str, str] = {}
    created: str = ""

    def to_json(self) -> str:
        """Returns the document."""
        return self.model_dump_json(by_alias=True, indent=1) + "\n"


def read_checkpoint(folder: Path) -> Checkpoint:
    """Returns what a checkpoint says of itself.

    Raises:
        NotFound: There is none; names those that lie in the folder.
        InvalidInput: It does not follow the schema.
    """
    if not folder.is_dir():
        raise NotFound(f"{folder}: does not exist; make it with: zapeval train NAME --out DIR")
    document = read_document(open_store(folder), DOCUMENT)
    if document is None:
        inside = sorted(path.parent.name for path in folder.glob(f"*/{DOCUMENT}"))
        hint = f"; it holds {', '.join(inside)}: give one of them" if inside else ""
        raise NotFound(f"{folder}: holds no {DOCUMENT}{hint}")
    try:
        return Checkpoint.model_validate(document)
    except ValidationError as error:
        one = error.errors(include_url=False)[0]
        at = ".".join(map(str, one["loc"]))
        raise InvalidInput(f"{folder / DOCUMENT}: {at}: {one['msg']}") from error


def load_checkpoint(
    forecaster: Forecaster,
    folder: Path,
    benchmark: Benchmark,
    recordings: Recordings,
    context: int,
) -> Checkpoint:
    """Lets a forecaster take up a checkpoint that fits, and returns what that says of itself.

    Raises:
        InvalidInput: It is another forecaster's, or was trained on another benchmark, context
            length or number of neurons.
        BrokenPlugin: The forecaster can't load it.
        NotFound: There is none.
    """
    found = read_checkpoint(folder)
    _check_same(folder, "forecaster", found.forecaster.name, forecaster.name)
    said = said_of(forecaster)
    _check_same(folder, "version", found.forecaster.version, said.version)
    learned, expected = (
        {key: one for key, one in part.parameters.items() if key not in forecaster.when_forecasting}
        for part in (found.forecaster, said)
    )
    _check_same(folder, "parameters", learned, expected)
    if found.benchmark.digest != benchmark.digest:
        ours, theirs = benchmark.label, f"{found.benchmark.id}@{found.benchmark.version}"
        if ours == theirs:
            ours, theirs = benchmark.digest, found.benchmark.digest
        _check_same(folder, "benchmark", theirs, ours)
    _check_same(folder, "context length", found.context, context)
    for key, neurons in found.neurons.items():
        _check_same(folder, f"neurons of recording {key!r}", neurons, recordings[key].neurons)
    load_model(forecaster, folder, found)
    return found


def load_model(forecaster: Forecaster, folder: Path, found: Checkpoint) -> None:
    """Lets a forecaster take up the model of a checkpoint, if its files are as they were written.

    Raises:
        InvalidInput: They are not.
        BrokenPlugin: The forecaster can't load them.
    """
    try:
        digest = model_digest(folder / MODEL)
    except OSError as error:
        raise StorageError(f"{folder / MODEL}: could not be read: {error.strerror}") from error
    if digest != found.model:
        raise InvalidInput(
            f"{folder / MODEL}: its files were changed or damaged; remove {folder} and train again"
        )
    try:
        forecaster.load(folder / MODEL)
    except ZapevalError:
        raise
    except (Exception, SystemExit) as error:
        raise BrokenPlugin(
            f"{forecaster.name}: could not load {folder / MODEL}: {type(error).__name__}: {error}"
        ) from error


def model_digest(model: Path) -> str:
    """Returns the digest of a model's files and of their names."""
    files = sorted(path for path in model.rglob("*") if path.is_file())
    names = "\n".join(path.relative_to(model).as_posix() for path in files)
    return digest_of(files, names)


def check_fitted(forecaster: Forecaster, folder: Path | None, task: str = "NAME -b ID") -> None:
    """Checks that a checkpoint is given if, and only if, the forecaster learns.

    Args:
        forecaster: The forecaster.
        folder: Its checkpoint, or None.
        task: What zapeval train has to be given to make one, for the message.

    Raises:
        UsageError: One is missing, or given to a forecaster that learns nothing.
    """
    if forecaster.learns and folder is None:
        raise UsageError(
            f"{forecaster.name}: has to be trained; run zapeval train {task} --out DIR, then give "
            "--checkpoint DIR/seed-0"
        )
    if folder is not None and not forecaster.learns:
        raise UsageError(f"{forecaster.name}: learns nothing, so it takes no checkpoint")


def _check_same(folder: Path, what: str, got: object, expected: object) -> None:
    if got != expected:
        raise InvalidInput(
            f"{folder}: was trained for {what} {got}, expected {expected}; train one that fits"
        )
