"""The licences page: what zapeval builds on, with versions and licences, from their metadata.

    python docs/licences.py constraints.txt > docs/licences.md

`make constraints` runs it in the environment that it has just resolved.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

UNKNOWN = "not declared"

HEAD = """\
# Licences of what zapeval builds on

zapeval is under the Apache License 2.0. These packages are installed beside it from
`constraints.txt` with the extra `dev`, which brings all others; users install far fewer
of them ([extras](install.md#extras)). Licences are those that the packages declare in their
metadata, or else the first line of the text in them. `make constraints` writes this page.

| package | version | licence |
|---|---|---|
"""

_TROVE = "License :: "


def pinned(constraints: Path) -> Iterator[tuple[str, str]]:
    """Yields name and version of each line of constraints.txt."""
    for line in constraints.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            yield name, version


def licence_of(found: Distribution) -> str:
    """Returns what a package declares: an expression, else classifiers, else the text's begin."""
    said = found.metadata
    if said["License-Expression"]:
        return _cell(said["License-Expression"])
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in said.get_all("Classifier") or ()
        if line.startswith(_TROVE) and line != "License :: OSI Approved"
    ]
    if classifiers:
        return _cell(" / ".join(classifiers))
    texts = [said["License"] or "", *(found.read_text(name) or "" for name in _files(found))]
    lines = [text.strip().splitlines()[0] for text in texts if text.strip()]
    return _cell(lines[0]) if lines else UNKNOWN


def page(constraints: Path) -> str:
    """Returns the page.

    Raises:
        SystemExit: A package of constraints.txt is not installed, or in another version.
    """
    rows = []
    for name, version in pinned(constraints):
        try:
            found = distribution(name)
        except PackageNotFoundError:
            sys.exit(f"{name}: is not installed; resolve it with `make constraints`")
        if found.version != version:
            sys.exit(f"{name}: {found.version} is installed, constraints.txt says {version}")
        rows.append(f"| {name} | {version} | {licence_of(found)} |")
    return HEAD + "\n".join(rows) + "\n"


def _files(found: Distribution) -> list[str]:
    """Returns the names of the licence files that lie beside a package's metadata."""
    return [f"licenses/{name}" for name in found.metadata.get_all("License-File") or ()]


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


if __name__ == "__main__":
    sys.stdout.write(page(Path(sys.argv[1])))
