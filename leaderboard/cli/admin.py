"""``zapeval board``: invite people, end and renew their access, read the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zapeval.cli.console import note, say
from zapeval.errors import NotFound, Refused

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from leaderboard.settings import Settings
    from leaderboard.tables import User

app = typer.Typer(
    help="Invite people, end and renew their access, read the audit log; at the board's machine.",
    add_completion=False,
    no_args_is_help=True,
)

Folder = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", metavar="DIR", help="Folder of the board; default: $ZAPEVAL_DATA_DIR."
    ),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the account.")]


@app.command()
def invite(
    admin: Annotated[bool, typer.Option("--admin", help="Whoever takes it is an admin.")] = False,
    days: Annotated[float, typer.Option(min=0.01, max=365, help="How long it can be taken.")] = 14,
    data_dir: Folder = None,
) -> None:
    """Make an invitation, and print it; one person can take it once, with `zapeval login`."""
    from leaderboard import audit, people

    with _writing(data_dir) as (session, _):
        role = "admin" if admin else "member"
        made, secret = people.invite(session, audit.OPERATOR, role=role, days=days)
    say(secret)
    note(f"lets one person make an account ({role}) until {_day(made.expires)}; shown this once")


@app.command("people")
def list_(data_dir: Folder = None) -> None:
    """List accounts: name, role, since when, whether disabled, last use of a token."""
    from sqlalchemy import func, select

    from leaderboard.tables import Token, User

    query = (
        select(User, func.max(Token.last_used))
        .outerjoin(Token, Token.user_id == User.id)
        .group_by(User.id)
        .order_by(User.name)
    )
    with _writing(data_dir) as (session, _):
        for user, used in session.execute(query):
            state = f"disabled {_day(user.disabled)}" if user.disabled else "active"
            last = f"last seen {_day(used)}" if used else "never seen"
            say(f"{user.name:<39} {user.role:<6}  since {_day(user.created)}  {state}  {last}")


@app.command()
def token(name: Name, data_dir: Folder = None) -> None:
    """Make a new token for somebody who lost theirs, and print it; the others go on."""
    from leaderboard import audit, people

    with _writing(data_dir) as (session, settings):
        user = _user(session, name)
        made, secret = people.first_token(session, settings, user)
        audit.record(session, audit.OPERATOR, "token.create", made.id, user=user.id)
    say(secret)
    note(f"does all that {name} may do ({user.role}) until {_day(made.expires)}; shown this once")


@app.command()
def disable(name: Name, data_dir: Folder = None) -> None:
    """Disable an account: its tokens stop working at once; what it published stays."""
    from leaderboard import audit, people

    with _writing(data_dir) as (session, _):
        people.disable(session, audit.OPERATOR, _user(session, name).id)
    say(f"{name}: disabled")


@app.command()
def enable(name: Name, data_dir: Folder = None) -> None:
    """Take back that an account is disabled."""
    from leaderboard import audit, people

    with _writing(data_dir) as (session, _):
        people.enable(session, audit.OPERATOR, _user(session, name).id)
    say(f"{name}: enabled")


@app.command("audit")
def log(
    lines: Annotated[int, typer.Option("-n", min=1, max=10_000, help="How many lines.")] = 50,
    subject: Annotated[str, typer.Option(help="Only lines about this id.")] = "",
    data_dir: Folder = None,
) -> None:
    """Print who did what to what, the newest first."""
    from json import dumps

    from leaderboard import audit

    with _writing(data_dir) as (session, _):
        for row in audit.page(session, before=None, limit=lines, subject=subject):
            detail = dumps(row.detail) if row.detail else ""
            at = f"{row.at:%Y-%m-%d %H:%M:%S}Z"
            say(f"{at}  {row.actor}  {row.action}  {row.subject}  {detail}".rstrip())


@contextmanager
def _writing(data_dir: Path | None) -> Iterator[tuple[Session, Settings]]:
    """Gives a session on the board's database, brought to this version's tables first.

    Raises:
        NotFound: There is no board in the folder.
    """
    from leaderboard.cli.serve import settings_of

    settings = settings_of({} if data_dir is None else {"data_dir": data_dir})
    from leaderboard.database import Database
    from leaderboard.migrations import is_current, upgrade

    if not settings.database and not (settings.data_dir / "board.sqlite").is_file():
        raise NotFound(
            f"{settings.data_dir}: is no board's folder; begin one with "
            f"`zapeval serve --data-dir {settings.data_dir}`"
        )
    database = Database(settings)
    try:
        if not is_current(database):
            upgrade(database)
        with _spoken(), database.write() as session:
            yield session, settings
    finally:
        database.close()


@contextmanager
def _spoken() -> Iterator[None]:
    """Turns what would be an answer of the web service into an error of the command line."""
    from leaderboard.problems import Problem

    try:
        yield
    except Problem as problem:
        raise Refused(problem.detail) from problem


def _user(session: Session, name: str) -> User:
    from sqlalchemy import select

    from leaderboard.tables import User

    user = session.scalars(select(User).where(User.name == name)).first()
    if user is None:
        raise NotFound(f"{name}: no such account; see `zapeval board people`")
    return user


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
