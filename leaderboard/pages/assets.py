"""Assets: style sheets and scripts under addresses that change with their content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

from fastapi import APIRouter, Request, Response

from leaderboard.caching import Answer, packed, send
from leaderboard.problems import Missing
from leaderboard.settings import Settings

router = APIRouter(include_in_schema=False)

STATIC = Path(__file__).parents[1] / "static"

CHARTS = "vega.js"
"""Vega, Vega-Lite and vega-embed with its interpreter, from the installed package that has them."""

_FOREVER = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Vary": "Accept-Encoding",
}
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_SNIPPET = "window.vegaEmbed = vegaEmbed;"
_bundling = Lock()


@cache
def address_of(name: str) -> str:
    """Returns where an asset is served; "" where the package that it comes from is missing."""
    if name == CHARTS:
        if find_spec("vl_convert") is None:
            return ""
        # The package's version stands for the content, which takes a second to make.
        what = f"{version('vl-convert-python')} {_SNIPPET}".encode()
    else:
        what = (STATIC / name).read_bytes()
    return f"/static/{hashlib.sha256(what).hexdigest()[:16]}/{name}"


@router.get("/static/{digest}/{name}")
def asset(request: Request, digest: str, name: str) -> Response:
    """Returns an asset; whoever has it never needs to ask again."""
    known = {CHARTS, *(file.name for file in STATIC.iterdir() if file.suffix in _TYPES)}
    if name not in known or address_of(name) != f"/static/{digest}/{name}":
        raise Missing(f"static/{digest:.20}/{name:.40}: no such asset; load the page again")
    settings: Settings = request.app.state.settings
    answer = _charts(settings.data_dir) if name == CHARTS else _own(name)
    return send(request, answer, dict(_FOREVER))


@cache
def _own(name: str) -> Answer:
    return packed((STATIC / name).read_bytes(), _TYPES[Path(name).suffix])


@cache
def _charts(folder: Path) -> Answer:
    """Returns the chart library, made once and kept in the board's folder."""
    file = folder / "assets" / address_of(CHARTS).split("/")[2] / CHARTS
    with _bundling:
        if not file.exists():
            _write(file)
        return packed(file.read_bytes(), _TYPES[".js"])


def _write(file: Path) -> None:
    import vl_convert

    file.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(vl_convert.javascript_bundle(_SNIPPET))
    Path(partial).replace(file)
