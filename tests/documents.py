"""Documents whose blocks run: what stands in README and docs is typed here, in order.

A fenced block may follow a comment: ``<!-- file: NAME -->`` saves it under that name,
``<!-- with: WHAT -->`` says what must be prepared before it runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]

_BLOCK = re.compile(
    r"(?:^<!-- (?P<kind>file|with): (?P<value>[^\n]+?) -->\n)?"
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block: its language, its text, and what the comment before it says."""

    language: str
    text: str
    file: str
    needs: str


def documents() -> list[Path]:
    """Returns README and every page of docs."""
    return [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted(PROJECT.glob("docs/*.md"))]


def blocks(document: Path) -> Iterator[Block]:
    """Yields the fenced blocks of a document."""
    for found in _BLOCK.finditer(document.read_text(encoding="utf-8")):
        said = {found["kind"]: found["value"]}
        yield Block(
            language=found["language"],
            text=found["text"],
            file=said.get("file", ""),
            needs=said.get("with", ""),
        )
