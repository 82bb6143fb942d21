"""Rendering: templates to pages, with text of others made legible and escaped."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import HTTPConnection

from leaderboard.auth import Identity
from leaderboard.columns import compact, duration
from leaderboard.pages.assets import CHARTS, address_of
from leaderboard.visitors import Visitor
from zapeval.reports.standings import letter, percent
from zapeval.reports.tables import shortened

TEMPLATES = Path(__file__).parents[1] / "templates"

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""What a page may load: our own files and nothing else; no script or style inside the page."""


def render(
    connection: HTTPConnection, name: str, *, status: int = 200, **context: Any
) -> HTMLResponse:
    """Returns a page as a response that nothing between keeps."""
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "private, no-store"}
    return HTMLResponse(page(connection, name, **context), status_code=status, headers=headers)


def page(connection: HTTPConnection, name: str, **context: Any) -> str:
    """Returns a page of a template: ``name`` below templates/."""
    visitor = visitor_of(connection)
    template = _environment().get_template(name)
    return template.render(
        site=connection.app.state.settings.title,
        here=_here(connection),
        base=base_of(connection),
        identity=visitor.identity if visitor else None,
        csrf=visitor.csrf if visitor else "",
        **context,
    )


def visitor_of(connection: HTTPConnection) -> Visitor | None:
    """Returns who sends a request; None where it failed before that was known."""
    return getattr(connection.state, "visitor", None)


def signed_in(connection: HTTPConnection) -> Identity | None:
    """Returns the person who sends a request, or None."""
    visitor = visitor_of(connection)
    return visitor.identity if visitor else None


def base_of(connection: HTTPConnection) -> str:
    """Returns the address that users reach the board at, without a slash at its end."""
    public: str = connection.app.state.settings.public_url
    return public or str(connection.base_url).rstrip("/")


def _here(connection: HTTPConnection) -> str:
    query = connection.url.query
    return connection.url.path + (f"?{query}" if query else "")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_legible,
    )
    environment.globals |= {"asset": address_of, "charts_asset": address_of(CHARTS)}
    environment.filters |= {
        "compact": compact,
        "duration": duration,
        "letter": letter,
        "percent": percent,
        "shortened": shortened,
        "day": _day,
        "moment": _moment,
        "size": _size,
        "link": _link,
        "listed": _listed,
    }
    return environment


def _legible(value: Any) -> Any:
    """Returns a value whose text can't run backwards, hide letters or name a class of markup."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return "" if value is None else value
    if value.isprintable():
        return value
    return "".join(mark if mark.isprintable() or mark == "\n" else "\ufffd" for mark in value)


def _day(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d}"


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def _size(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"


def _link(address: object) -> Markup | str:
    """Returns a link to another site, or the text as it is where it is no https address."""
    text = str(address)
    if not text.startswith("https://") or not text.isascii() or not text.isprintable():
        return text
    return Markup('<a href="{0}" rel="nofollow noopener noreferrer ugc">{0}</a>').format(text)


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
