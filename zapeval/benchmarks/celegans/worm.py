"""A worm in standard form: activity in 302 slots, with where it comes from and its digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from zapeval.benchmarks.celegans.names import NAMES, SLOTS
from zapeval.errors import InvalidInput

SCHEMA = "zapeval.worm/1"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a worm comes from, and what was done to it.

    Attributes:
        source: Name of its source.
        file: What it was read from, relative to the folder that was prepared; "" if generated.
        file_digest: SHA-256 of those files; of the settings if it was generated.
        recorded: Neurons of the recording, the unlabelled too.
        raw_frames: Frames of the recording.
        raw_seconds: Median time between them, in seconds.
        scale: Frames that made the z-score.
        steps: Version of the preprocessing.
        licence: Terms of use.
        citation: The work to cite.
    """

    source: str
    file: str
    file_digest: str
    recorded: int
    raw_frames: int
    raw_seconds: float
    scale: str
    steps: int
    licence: str
    citation: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Worm:
    """One worm.

    Attributes:
        name: Its name, unique in a store.
        activity: float32 ``[frames, 302]``, z-scored; zeros where unrecorded.
        mask: Which neurons are labelled, bool ``[302]``.
        dt: Seconds between frames.
        provenance: Where it comes from.
    """

    name: str
    activity: np.ndarray
    mask: np.ndarray
    dt: float
    provenance: Provenance

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.activity)

    @property
    def labelled(self) -> tuple[str, ...]:
        """Names of the labelled neurons, in the order of slots."""
        return tuple(name for name, labelled in zip(NAMES, self.mask, strict=True) if labelled)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of name, source, time step, mask and activity, as ``sha256:`` and 64 digits."""
        return digest_of(
            self.activity,
            name=self.name,
            source=self.provenance.source,
            dt=self.dt,
            labelled=self.labelled,
        )

    def to_attributes(self) -> dict[str, Any]:
        """Returns what is kept of it beside its activity; JSON."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "dt": self.dt,
            "labelled": list(self.labelled),
            "digest": self.digest,
            "provenance": asdict(self.provenance),
        }


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a store says of a worm beside its activity.

    Attributes:
        name: Its name.
        dt: Seconds between frames.
        labelled: Names of its labelled neurons.
        digest: Its digest.
        provenance: Where it comes from.
    """

    name: str
    dt: float
    labelled: tuple[str, ...]
    digest: str
    provenance: Provenance

    @property
    def mask(self) -> tuple[bool, ...]:
        """Which neurons are labelled, one flag a slot."""
        labelled = set(self.labelled)
        return tuple(name in labelled for name in NAMES)

    @property
    def key(self) -> str:
        """Key of its recording: its name with its digest, so that a benchmark's digest covers it.

        Other worms under one name make another benchmark, and boards never mix the two.
        """
        return f"{self.name}@{self.digest.removeprefix('sha256:')[:16]}"


def card_of(attributes: dict[str, Any], where: str) -> Card:
    """Returns what the attributes of a worm's folder say.

    Raises:
        InvalidInput: They are no worm's.
    """
    try:
        if attributes["schema"] != SCHEMA:
            raise ValueError(f"schema {attributes['schema']!r}, expected {SCHEMA!r}")
        said = attributes["provenance"]
        if set(said) != {field.name for field in fields(Provenance)}:
            raise ValueError(f"provenance has {', '.join(sorted(said))}")
        unknown = [name for name in attributes["labelled"] if name not in SLOTS]
        if unknown or not attributes["labelled"]:
            raise ValueError(f"labelled has {unknown[:3] or 'nobody'}")
        return Card(
            name=str(attributes["name"]),
            dt=float(attributes["dt"]),
            labelled=tuple(attributes["labelled"]),
            digest=str(attributes["digest"]),
            provenance=Provenance(**said),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"{where}: is no prepared worm: {error}") from error


def digest_of(
    activity: np.ndarray, *, name: str, source: str, dt: float, labelled: tuple[str, ...]
) -> str:
    """Returns the digest of a worm's contents.

    Args:
        activity: float32 ``[frames, 302]``.
        name: Its name.
        source: Its source, which is its group.
        dt: Seconds between frames.
        labelled: Names of its labelled neurons, in the order of slots.
    """
    said = {
        "name": name,
        "source": source,
        "dt": dt,
        "labelled": list(labelled),
        "shape": list(activity.shape),
    }
    total = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    total.update(np.ascontiguousarray(activity, "<f4").tobytes())
    return f"sha256:{total.hexdigest()}"
