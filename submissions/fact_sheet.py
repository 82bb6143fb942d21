"""A fact sheet: what the authors say of an entry, in a TOML file of plain, bounded values."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from zapeval.errors import InvalidInput
from zapeval.recordings.stores import open_store, require

FACT_SHEET = "fact-sheet.toml"
"""Name of the file in an entry's folder."""

LIMIT = 64 << 10
"""Largest fact sheet in bytes."""

_LINK = re.compile(
    r"https://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?(/[!#-;=?-\[\]_a-z~]*)?"
)
_SHOWN = 60


def _printable(text: str) -> str:
    # Formatting characters too: they can make a name read as another, or run a line backwards.
    if not text.isprintable():
        raise ValueError("a control or formatting character")
    return text


def _link(text: str) -> str:
    if text and not _LINK.fullmatch(text):
        raise ValueError("no plain https link")
    return text


_Name = Annotated[
    str, Field(pattern=r"^\w([\w .,+()=/-]{0,78}[\w.+()])?$"), AfterValidator(_printable)
]
_Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
_Text = Annotated[str, Field(max_length=2000), AfterValidator(_printable)]
_Hardware = Annotated[str, Field(max_length=200), AfterValidator(_printable)]
_Said = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_printable)]
_Https = Annotated[str, Field(max_length=500), AfterValidator(_link)]
_Seed = Annotated[int, Field(ge=0, lt=1 << 63)] | Annotated[str, Field(pattern=r"^[\w.-]{1,40}$")]
_LINE = "text of 1 to 200 printable characters"
_HTTPS = 'a link that begins with "https://", or "" where there is none'


class _Table(BaseModel):
    """A table of the file. The description of a key says what is expected of its value."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Cost(_Table):
    """``[cost]``: what one trained model took."""

    parameters: int | None = Field(
        default=None, ge=0, lt=1 << 63, description="the number of learned parameters"
    )
    training_hours: float | None = Field(
        default=None, ge=0, le=1e9, description="hours to train one seed"
    )
    hardware: _Hardware = Field(default="", description="text: what it was trained on")


class FactSheet(_Table):
    """The whole sheet; see docs/entries.md."""

    name: _Name = Field(
        description="1 to 80 letters, digits, spaces and _ - . , + ( ) = /, a letter or digit first"
    )
    authors: list[_Line] = Field(
        min_length=1, max_length=100, description=f"a list of 1 to 100 names, each {_LINE}"
    )
    code: _Https = Field(default="", description=_HTTPS)
    paper: _Https = Field(default="", description=_HTTPS)
    training_data: _Said = Field(description="text of 1 to 2000 characters: what it learned from")
    future_stimulus: bool = Field(description="true or false: whether it sees the future stimulus")
    neuron_subset: _Text = Field(
        default="", description='text: which neurons were trained on; "" where all were'
    )
    model_per_step: bool = Field(description="true or false: whether each step has its own model")
    leakage: _Said = Field(
        description='text of 1 to 2000 characters: what of the test frames it has seen, or "none"'
    )
    seeds: list[_Seed] = Field(
        default=[], max_length=1000, description="a list of the seeds, each named once"
    )
    cost: Cost = Field(
        default=Cost(), description="a table of parameters, training_hours, hardware"
    )

    def to_toml(self) -> str:
        """Returns the sheet as TOML, which read_fact_sheet reads as the same sheet."""
        said = self.model_dump(mode="json")
        cost = {key: value for key, value in said.pop("cost").items() if value not in (None, "")}
        # Strings of printable characters, numbers, flags and lists read alike in JSON and TOML.
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in said.items()]
        if cost:
            lines += ["", "[cost]", *(f"{key} = {json.dumps(v)}" for key, v in cost.items())]
        return "\n".join(lines) + "\n"


def read_fact_sheet(path: Path) -> FactSheet:
    """Returns the fact sheet in a file.

    Raises:
        NotFound: There is no such file.
        InvalidInput: It is too large, no TOML, or a key is missing, unknown or wrong; says all that
            are.
    """
    return fact_sheet_of(_parsed(require(open_store(path.parent), path.name, LIMIT), path), path)


def fact_sheet_of(document: dict[str, Any], where: object) -> FactSheet:
    """Returns the fact sheet that a document holds.

    Raises:
        InvalidInput: A key is missing, unknown or wrong; says all that are.
    """
    try:
        sheet = FactSheet.model_validate(document)
    except ValidationError as error:
        found = [f"{where}: {_sentence(one)}" for one in error.errors(include_url=False)[:100]]
        raise InvalidInput("\n".join(found), found) from error
    twice = [seed for seed in sheet.seeds if [*map(str, sheet.seeds)].count(str(seed)) > 1]
    if twice:
        raise InvalidInput(f"{where}: seeds: {twice[0]!r} stands twice; name each once")
    return sheet


def _parsed(data: bytes, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: is no TOML file: it is not UTF-8") from error
    except RecursionError as error:
        raise InvalidInput(f"{path}: is nested too deep") from error
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{path}: is no valid TOML: {error}") from error


def _sentence(details: ErrorDetails) -> str:
    """Returns what is wrong with a key."""
    path = [part for part in details["loc"] if not str(part).startswith(("constrained", "int"))]
    model: type[BaseModel] = FactSheet
    if path[:1] == ["cost"] and len(path) > 1:
        model, name = Cost, str(path[1])
        key = f"[cost] {name}"
    else:
        key = name = str(path[0]) if path else "the file"
    if details["type"] == "extra_forbidden":
        return f"{_legible(key)}: is no key here; known: {', '.join(model.model_fields)}"
    expected = model.model_fields[name].description
    if details["type"] == "missing":
        return f"{key}: is missing; expected {expected}"
    entry = f" as entry {int(path[1]) + 1}" if len(path) > 1 and isinstance(path[1], int) else ""
    why = f" ({details['ctx']['error']})" if details["type"] == "value_error" else ""
    return f"{key}: got {_legible(repr(details['input']))}{entry}{why}, expected {expected}"


def _legible(text: str) -> str:
    cut = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}.."
    return "".join(mark if mark.isprintable() else "\ufffd" for mark in cut)
