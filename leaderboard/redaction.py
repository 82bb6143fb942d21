"""Redaction: what others may read of a text that names places of this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_PATH = re.compile(r"(?<![\w.:/])/(?:[^\s/'\",:;()\[\]]+/)+[^\s'\",:;()\[\]]*")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")
_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]+@")


def redacted(text: str, names: Mapping[Path, str] | None = None, limit: int = 4000) -> str:
    """Returns a text without paths of this machine, memory addresses and control characters.

    Args:
        text: The text.
        names: What to call some paths instead.
        limit: Most characters that are kept, those at the end.
    """
    known = sorted((names or {}).items(), key=lambda item: -len(str(item[0])))
    for path, name in known:
        text = text.replace(str(path), name)
    for pattern, instead in ((_PATH, "…"), (_ADDRESS, "0x…"), (_CREDENTIALS, "")):
        text = pattern.sub(instead, text)
    legible = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)
    return legible[-limit:]
