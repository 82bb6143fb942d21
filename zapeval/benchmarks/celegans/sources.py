"""A source: where worms come from, how it is cited, and under which terms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

UNSTATED = "not stated in the files; ask the authors"
"""Licence of a recording whose files say nothing of it."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One source of worms.

    Attributes:
        name: Its name, the group of its worms.
        citation: The work to cite.
        licence: Terms of use, as far as they are known.
    """

    name: str
    citation: str = ""
    licence: str = UNSTATED


KATO = Source(name="Kato2015", citation="Kato et al. 2015, Cell 163(3)")
NICHOLS = Source(name="Nichols2017", citation="Nichols et al. 2017, Science 356")
SKORA = Source(name="Skora2018", citation="Skora et al. 2018, Cell Reports 22(4)")
KAPLAN = Source(name="Kaplan2020", citation="Kaplan et al. 2020, Neuron 105(3)")
YEMINI = Source(name="Yemini2021", citation="Yemini et al. 2021, Cell 184(1)")
UZEL = Source(name="Uzel2022", citation="Uzel et al. 2022, Current Biology 32(16)")
FLAVELL = Source(
    name="Flavell2023",
    citation="Atanas, Kim et al. 2023, Cell 186(19)",
    licence="CC BY 3.0 US (wormwideweb.org)",
)
LEIFER = Source(name="Leifer2023", citation="Randi et al. 2023, Nature 623")

PAPER = {
    source.name: source for source in (KATO, NICHOLS, SKORA, KAPLAN, YEMINI, UZEL, FLAVELL, LEIFER)
}
"""The eight sources of Simeon et al. 2024 (Table I), by name."""

EXPORT_LICENCE = "MIT (Hugging Face, qsimon/celegans_neural_data)"
"""Terms of the public export."""


def exported(name: str) -> Source:
    """Returns a source as the public export has it."""
    known = PAPER.get(name)
    citation = known.citation if known else ""
    return Source(name=safe_name(name), citation=citation, licence=EXPORT_LICENCE)


def own(file: Path, folder: Path) -> Source:
    """Returns the source of a file that says none: the name of the folder that it lies in."""
    return Source(name=safe_name(file.parent.name if file.parent != folder else folder.name))


def safe_name(text: str) -> str:
    """Returns a name that can be a folder, a group and a part of a table's row."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.-") or "worms"
