"""Signing in and out: a token for a session of the browser, in a cookie that scripts can't read."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from leaderboard import audit
from leaderboard.api.deps import Db, Guarded, Sender
from leaderboard.auth import identify, issue
from leaderboard.database import Database
from leaderboard.pages.rendering import render
from leaderboard.problems import Forbidden, TooMany, Unauthenticated
from leaderboard.tables import Token, now
from leaderboard.visitors import COOKIE

router = APIRouter(include_in_schema=False)

SESSION_DAYS = 14.0
"""How long somebody stays signed in, unless the token that they signed in with ends before."""


@router.get("/sign-in")
def sign_in_page(request: Request, next: str = "/") -> Response:
    """Shows the form: fields ``token`` and ``next``."""
    return render(request, "sign_in.html", next=_local(next), problem="")


@router.post("/sign-in")
def sign_in(
    request: Request,
    database: Db,
    guard: Guarded,
    token: Annotated[str, Form(max_length=200)] = "",
    next: Annotated[str, Form(max_length=2000)] = "/",
) -> Response:
    """Begins a session, and leads back to where the visitor came from."""
    _require_same_site(request)
    try:
        with guard("sign-ins"):
            secret, seconds = _begin(database, token.strip())
    except (Unauthenticated, TooMany) as problem:
        page = render(
            request,
            "sign_in.html",
            status=problem.status,
            next=_local(next),
            problem=problem.detail,
        )
        page.headers.update(problem.headers)
        return page
    response = RedirectResponse(_local(next), 303)
    response.set_cookie(
        COOKIE,
        secret,
        max_age=int(seconds),
        httponly=True,
        samesite="strict",
        secure=_is_secure(request),
    )
    return response


@router.post("/sign-out")
def sign_out(database: Db, visitor: Sender) -> Response:
    """Ends the session. The form holds the session's ``csrf``, as every other does."""
    if visitor.identity is not None and visitor.csrf:
        with database.write() as session:
            token = session.get_one(Token, visitor.identity.token_id)
            token.revoked = token.revoked or now()
            audit.record(session, visitor.identity.user_id, "session.end", token.id)
    response = RedirectResponse("/", 303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


def _begin(database: Database, secret: str) -> tuple[str, float]:
    """Makes the session of a token; returns its secret and how many seconds it lives.

    The cookie holds a token of its own, so that signing out ends it, and a stolen cookie can be
    revoked without the token that programs use.
    """
    with database.write() as session:
        identity = identify(session, secret, now())
        token, own = issue(session, identity.user_id, "browser", identity.scopes, SESSION_DAYS)
        token.expires = min(token.expires, identity.expires)
        audit.record(session, identity.user_id, "session.begin", token.id)
        return own, (token.expires - now()).total_seconds()


def _local(address: str) -> str:
    """Returns an address of this site: nobody is led elsewhere by a link to the sign-in page."""
    plain = address.startswith("/") and address.isascii() and address.isprintable()
    return address if plain and not address.startswith("//") and "\\" not in address else "/"


def _is_secure(request: Request) -> bool:
    public: str = request.app.state.settings.public_url
    return request.url.scheme == "https" or public.startswith("https://")


def _require_same_site(request: Request) -> None:
    """Keeps other sites from signing a visitor in as somebody else.

    Raises:
        Forbidden: The form is of another site.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("the form is of another site; sign in on this one")
