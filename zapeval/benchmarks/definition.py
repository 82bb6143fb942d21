"""A definition: what a TOML file says of a benchmark, checked key by key."""

from __future__ import annotations

import re
from decimal import Decimal
from math import isfinite
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, model_validator

from zapeval.benchmarks.benchmark import Protocol, Sampled
from zapeval.benchmarks.ranges import Range, read_range, shown


def _seconds(value: object) -> float:
    seconds = float(str(value)) if type(value) in (int, Decimal) else 0.0
    if not (isfinite(seconds) and seconds > 0):
        raise ValueError(f"got {shown(value)}, expected seconds above 0, such as 0.5")
    return seconds


_Range = Annotated[Range, PlainValidator(read_range)]
_Seconds = Annotated[float, PlainValidator(_seconds)]
_Count = Annotated[int, Field(ge=1, le=1 << 40)]
_Place = Annotated[str, Field(min_length=1, max_length=2000)]
_Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
_Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
_Name = Annotated[str, Field(pattern=r"^\w([\w .+()-]{0,78}[\w.+()-])?$")]
_Group = Annotated[str, Field(pattern=r"^(\w([\w .+()-]{0,78}[\w.+()-])?)?$")]
_FRAMES = "a pair of frames like [0, 700] or of fractions like [0.0, 0.7]"
_NAME = "letters, digits, spaces and _ - . + ( ), beginning with a letter or digit"
_KEY = "letters, digits and _ - . , beginning with a letter or digit"


class Table(BaseModel):
    """A table of the file. The description of a key says what is expected of its value."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Split(Table):
    """``[split]``: which frames are for what, and where windows begin."""

    train: _Range | None = Field(default=None, description=_FRAMES)
    validation: _Range | None = Field(default=None, description=_FRAMES)
    test: _Range | None = Field(default=None, description=_FRAMES)
    stride: _Count | None = Field(default=None, description="a whole number of frames from 1")
    windows: _Count | None = Field(default=None, description="a whole number of windows from 1")

    @model_validator(mode="after")
    def _check_spacing(self) -> Self:
        if self.stride is not None and self.windows is not None:
            raise ValueError("has both stride and windows; keep one")
        return self


class RecordingTable(Table):
    """One ``[[recordings]]`` table: one recording, or several that are stored alike."""

    key: _Key | None = Field(default=None, description=_KEY)
    keys: list[_Key] | None = Field(
        default=None, min_length=1, description=f"a list of keys: {_KEY}"
    )
    activity: _Place = Field(description="a file, folder or URI, in which {key} is the key")
    axes: list[Literal["frames", "neurons"]] = Field(
        default=["frames", "neurons"], description='["frames", "neurons"] or ["neurons", "frames"]'
    )
    stimulus: _Place | None = Field(default=None, description="an array, in which {key} is the key")
    video: _Place | None = Field(default=None, description="an array, in which {key} is the key")
    segmentation: _Place | None = Field(
        default=None, description="an array, in which {key} is the key"
    )
    exclude: list[Annotated[int, Field(ge=0)]] = Field(
        default=[], description="a list of neurons, whole numbers from 0"
    )
    mask: _Place | None = Field(default=None, description="a file of one flag a neuron")
    group: _Group = Field(default="", description=_NAME)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.key is None) == (self.keys is None):
            raise ValueError("expected either key or keys; give one of them")
        for name, place in {"activity": self.activity, **self.parts}.items():
            if len(self.all_keys) > 1 and "{key}" not in place:
                raise ValueError(
                    f"{name}: got {place!r} for {len(self.all_keys)} keys, which would all "
                    'read the same file; expected {key} in it, as in "{key}.npy"'
                )
        if len(set(self.axes)) != 2 or len(self.axes) != 2:
            expected = '["frames", "neurons"] or ["neurons", "frames"]'
            raise ValueError(f"axes: got {shown(self.axes)}, expected {expected}")
        if self.exclude and self.mask is not None:
            raise ValueError("has both exclude and mask; keep one")
        if len(set(self.exclude)) != len(self.exclude):
            raise ValueError("exclude: lists a neuron twice; keep it once")
        return self

    @property
    def parts(self) -> dict[str, str]:
        """Where what belongs to the activity lies, by name, as far as it is said."""
        said = {"stimulus": self.stimulus, "video": self.video, "segmentation": self.segmentation}
        return {name: place for name, place in said.items() if place is not None}

    @property
    def all_keys(self) -> list[str]:
        """Its keys, one or several."""
        return list(self.keys or []) if self.key is None else [self.key]


class SeriesTable(Split):
    """One ``[[series]]`` table: what it says of a series overrides ``[split]``."""

    name: _Name = Field(description=_NAME)
    recording: str | None = Field(default=None, description="the key of a recording")
    frames: _Range | None = Field(default=None, description=_FRAMES)
    held_out: bool = Field(default=False, description="true or false")
    group: _Group | None = Field(default=None, description=_NAME)
    array: _Key | None = Field(default=None, description=_KEY)

    @model_validator(mode="after")
    def _check_held_out(self) -> Self:
        if self.held_out and (self.train or self.validation):
            raise ValueError("held_out: has train or validation frames; a held-out series has none")
        return self

    @property
    def array_name(self) -> str:
        """Name of its array in a predictions store: its own, or the name made safe for a folder."""
        return self.array or re.sub(r"[^A-Za-z0-9_.-]", "_", self.name).lstrip("_.-") or "series"


class Definition(Table):
    """The whole file."""

    id: _Id = Field(description="letters, digits, - and _, beginning with a letter or digit")
    version: int = Field(default=1, ge=0, description="a whole number from 0 (0: free to change)")
    title: str = Field(default="", max_length=200, description="a line of text")
    citation: str = Field(default="", max_length=2000, description="text")
    protocol: Protocol = Field(default="horizon", description='"horizon" or "next-step"')
    context_lengths: list[_Count] | None = Field(
        default=None, min_length=1, description="a list of whole numbers from 1"
    )
    horizon: _Count = Field(description="a whole number from 1")
    summary_steps: list[_Count] | None = Field(
        default=None, min_length=1, description="a list of whole numbers from 1 to the horizon"
    )
    primary: Literal["mae", "mse"] = Field(default="mae", description='"mae" or "mse"')
    sampled: Sampled | None = Field(default=None, description='"time" or "series"')
    frame_seconds: _Seconds | None = Field(default=None, description="seconds above 0")
    split: Split = Field(default=Split(), description="a table [split]")
    recordings: list[RecordingTable] = Field(
        min_length=1, description="one table [[recordings]] or more, in two brackets"
    )
    series: list[SeriesTable] = Field(default=[], description="tables [[series]], in two brackets")

    @property
    def keys(self) -> list[str]:
        """The key of every recording, in the order of the file."""
        return [key for table in self.recordings for key in table.all_keys]

    @property
    def contexts(self) -> tuple[int, ...]:
        """Context lengths; for next-step all inputs of a window are its one context."""
        return tuple(self.context_lengths or [self.horizon])

    @property
    def steps(self) -> tuple[int, ...]:
        """Summary steps: the powers of two up to the horizon and the horizon, unless said."""
        if self.summary_steps is not None:
            return tuple(self.summary_steps)
        last = self.horizon if self.protocol == "horizon" else 1
        return tuple(sorted({1 << i for i in range(last.bit_length())} | {last}))

    @property
    def entries(self) -> list[tuple[str, SeriesTable]]:
        """Key and table of every series: recording by recording, each in the order of the file.

        A recording that no table names is one series over its whole length.
        """
        tables = [(self._key_of(table), table) for table in self.series]
        found = []
        for key in self.keys:
            own = [(key, table) for recording, table in tables if recording == key]
            found += own or [(key, SeriesTable(name=key))]
        return found

    def _key_of(self, table: SeriesTable) -> str | None:
        """Returns the key of its recording: as said, or its own name, or the only one there is."""
        if table.recording is None and table.name in self.keys:
            return table.name
        if table.recording is None and len(self.keys) == 1:
            return self.keys[0]
        return table.recording

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if self.protocol == "horizon" and self.context_lengths is None:
            raise ValueError("context_lengths: is missing; expected a list such as [4, 64]")
        if self.protocol == "next-step" and self.contexts != (self.horizon,):
            raise ValueError(
                f"context_lengths: got {list(self.contexts)}, expected [{self.horizon}]: next-step "
                "sees as many frames as it has positions; leave it out"
            )
        for name, values in (("context_lengths", self.contexts), ("summary_steps", self.steps)):
            if list(values) != sorted(set(values)):
                raise ValueError(
                    f"{name}: got {list(values)}, expected each number once, in ascending order"
                )
        last = self.horizon if self.protocol == "horizon" else 1
        if self.steps[-1] > last:
            why = "the horizon" if self.protocol == "horizon" else "next-step pools all positions"
            raise ValueError(
                f"summary_steps: got {list(self.steps)}, expected steps from 1 to {last} ({why})"
            )
        return self

    @model_validator(mode="after")
    def _check_series(self) -> Self:
        twice = [key for key in self.keys if self.keys.count(key) > 1]
        if twice:
            raise ValueError(f"[[recordings]]: key {twice[0]!r} stands twice; rename one")
        for table in self.series:
            if self._key_of(table) not in self.keys:
                got = "is missing" if table.recording is None else f"got {table.recording!r}"
                known = f"{', '.join(self.keys[:12])}{', ..' if len(self.keys) > 12 else ''}"
                raise ValueError(
                    f"[[series]] {table.name!r}: recording: {got}, expected one of {known}"
                )
        tables = [table for _, table in self.entries]
        _check_unique([table.name for table in tables], "name", ("average", "pooled"))
        _check_unique([table.array_name for table in tables], "array", ("zarr.json",))
        if all(table.held_out for table in tables):
            raise ValueError("[[series]]: every series is held out; leave one in")
        for table in tables:
            if table.test is None and self.split.test is None:
                raise ValueError(f"series {table.name!r}: has no test frames; give [split] test")
        return self


def _check_unique(names: list[str], what: str, reserved: tuple[str, ...]) -> None:
    # Folder names that differ only in case are one folder on some file systems.
    taken = {name.casefold() for name in reserved}
    for name in names:
        if name.casefold() in taken:
            raise ValueError(
                f"series {what} {name!r} is taken; give that [[series]] its own {what}"
            )
        taken.add(name.casefold())
