"""The manifest: what a predictions store says of itself, in the attributes of its group."""

from __future__ import annotations

from reprlib import repr as short
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zapeval.errors import InvalidInput
from zapeval.recordings.grid import Grid

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


class ForecasterPart(_Part):
    """Which forecaster made them, and from what."""

    name: _Text
    version: _Text = ""
    parameters: dict[str, Any] = {}
    seed: int | None = None
    covariates: tuple[_Text, ...] = ()
    training_data: _Text = ""


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
    forecaster: ForecasterPart
    software: dict[str, _Text] = {}
    created: _Text = ""
    grid: GridPart | None = None

    def to_attributes(self) -> dict[str, Any]:
        """Returns the attributes of the group."""
        return self.model_dump(mode="json", by_alias=True)


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
