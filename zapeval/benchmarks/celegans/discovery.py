"""Discovery: which worms the files of a folder hold, and which reader knows them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zapeval.benchmarks.celegans.raw import Job, Reader
from zapeval.benchmarks.celegans.readers.export import ExportReader
from zapeval.benchmarks.celegans.readers.leifer import LeiferReader
from zapeval.benchmarks.celegans.readers.nwb import NwbReader
from zapeval.benchmarks.celegans.readers.structs import LAYOUTS, StructReader
from zapeval.benchmarks.celegans.readers.tables import TableReader
from zapeval.benchmarks.celegans.readers.wormwideweb import WormWideWebReader
from zapeval.benchmarks.celegans.readers.yemini import STEMS, YeminiReader
from zapeval.errors import NotFound

READERS: tuple[Reader, ...] = (
    StructReader(),
    YeminiReader(),
    WormWideWebReader(),
    LeiferReader(),
    ExportReader(),
    NwbReader(),
    TableReader(),
)
"""Every reader, in the order of reports."""

KNOWN = (
    f"MATLAB files of the sources ({', '.join((*LAYOUTS, *STEMS))}), N_gcamp.txt with N_labels.txt "
    "and N_t.txt, .json, .h5, .parquet, .nwb, .csv, .npz"
)
"""What there is a reader for."""

LEDGERS = ("mirror.json", ".mirror.jsonl")
"""Files of a fetch, which are no recordings."""


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """What a folder holds.

    Attributes:
        jobs: What is to be read.
        unknown: Files that no reader knows, relative to the folder.
    """

    jobs: tuple[Job, ...]
    unknown: tuple[str, ...]


def discover(folder: Path) -> Discovery:
    """Returns what the files below a folder hold; hidden files are passed over.

    Raises:
        NotFound: There is no such folder, or no reader knows a file in it.
        UsageError: A file needs a library that is not installed.
    """
    if not folder.is_dir():
        raise NotFound(f"{folder}: is no folder; expected the one that holds the recordings")
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.name not in LEDGERS
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    jobs: list[Job] = []
    known: set[Path] = set()
    for reader in READERS:
        found, its = reader.jobs([file for file in files if file not in known], folder)
        jobs += found
        known |= its
    if not jobs:
        raise NotFound(f"{folder}: holds no recording of a known kind; known: {KNOWN}")
    unknown = tuple(file.relative_to(folder).as_posix() for file in files if file not in known)
    return Discovery(jobs=tuple(jobs), unknown=unknown)
