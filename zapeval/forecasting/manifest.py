"""The manifest: what a predictions store says of itself, in the attributes of its group."""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import json
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path
from reprlib import repr as short
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zapeval.errors import BrokenPlugin, InvalidInput
from zapeval.recordings.grid import Grid

if TYPE_CHECKING:
    from zapeval.forecasting.forecaster import Forecaster

SCHEMA = "zapeval.predictions/1"
_Text = Annotated[str, Field(max_length=2000)]
# A registered name and nothing else: a manifest must not lead to a file that is read or executed.
_Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
_Axis = Annotated[int, Field(ge=0, le=1 << 20)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BenchmarkPart(_Part):
    """Which benchmark the forecasts are for."""

    id: _Id
    version: int
    digest: _Text


class CostPart(_Part):
    """What training cost: number of learned parameters, seconds, and on what."""

    parameters: Annotated[int, Field(ge=0)] | None = None
    training_seconds: Annotated[float, Field(ge=0)] | None = None
    hardware: _Text = ""


class ForecasterPart(_Part):
    """Which forecaster made them, and from what."""

    name: _Text
    version: _Text = ""
    parameters: dict[str, Any] = {}
    seed: int | None = None
    covariates: tuple[_Text, ...] = ()
    training_data: _Text = ""
    leaks: _Text = ""
    code: _Text = ""
    checkpoint: _Text = ""
    cost: CostPart | None = None


class GridPart(_Part):
    """Where the voxels of predicted volumes lie in the segmentation, per axis."""

    offset: tuple[_Axis, _Axis, _Axis] = (0, 0, 0)
    stride: tuple[_Axis, _Axis, _Axis] = (1, 1, 1)

    def grid(self) -> Grid:
        """Returns it as the segmentation takes it."""
        return Grid(offset=self.offset, stride=self.stride)


class Manifest(_Part):
    """The whole manifest; see docs/predictions.md."""

    schema_: Literal["zapeval.predictions/1"] = Field(
        default="zapeval.predictions/1", alias="schema"
    )
    benchmark: BenchmarkPart
    context: Annotated[int, Field(ge=1)]
    data: _Text = ""
    forecaster: ForecasterPart
    software: dict[str, _Text] = {}
    created: _Text = ""
    grid: GridPart | None = None

    def to_attributes(self) -> dict[str, Any]:
        """Returns the attributes of the group."""
        return self.model_dump(mode="json", by_alias=True)


def said_of(forecaster: Forecaster) -> ForecasterPart:
    """Returns what a forecaster says of itself.

    Raises:
        BrokenPlugin: It has no name, or parameters that JSON does not hold.
    """
    try:
        parameters = json.loads(json.dumps(dict(forecaster.parameters), allow_nan=False))
        return ForecasterPart(
            name=forecaster.name,
            version=forecaster.version,
            parameters=parameters,
            covariates=tuple(forecaster.covariates),
            leaks=forecaster.leaks,
            code=_code_of(forecaster),
        )
    except Exception as error:
        who = getattr(forecaster, "name", type(forecaster).__name__)
        raise BrokenPlugin(
            f"{who}: its name, version and parameters go into the manifest as JSON: {error}"
        ) from error


def _code_of(forecaster: Forecaster) -> str:
    """Returns the digest of the files that define a forecaster and its parts, or ""."""
    try:
        files = {inspect.getsourcefile(type(one)) for one in _with_parts(forecaster)}
        return digest_of(Path(file) for file in sorted(filter(None, files))) if files else ""
    except (OSError, TypeError):
        return ""


def _with_parts(forecaster: Forecaster) -> Iterator[Forecaster]:
    """Yields a forecaster, and the forecasters that it is composed of."""
    yield forecaster
    for part in getattr(forecaster, "parts", ()):
        yield from _with_parts(part)


def digest_of(files: Iterable[Path], names: str = "") -> str:
    """Returns the SHA-256 of names and files, in order, as ``sha256:`` and 64 hex digits.

    Raises:
        OSError: One can't be read.
    """
    digest = hashlib.sha256(names.encode())
    for file in files:
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return "sha256:" + digest.hexdigest()


def software() -> dict[str, str]:
    """Returns the versions of what runs."""
    return {
        "zapeval": importlib.metadata.version("zapeval"),
        "python": platform.python_version(),
    }


def read_manifest(attributes: dict[str, Any], where: str) -> Manifest | None:
    """Returns the manifest among a group's attributes, or None where it has none.

    Raises:
        InvalidInput: It has one that does not follow the schema.
    """
    if "schema" not in attributes:
        return None
    if attributes["schema"] != SCHEMA:
        got = short(attributes["schema"])
        raise InvalidInput(f"{where}: manifest: schema is {got}, expected {SCHEMA!r}")
    try:
        return Manifest.model_validate(attributes)
    except ValidationError as error:
        found = [
            f"{where}: manifest: {'.'.join(map(str, one['loc']))}: {one['msg']}, "
            f"got {short(one['input'])}"
            for one in error.errors(include_url=False)
        ]
        raise InvalidInput("\n".join(found[:12]), found) from error
