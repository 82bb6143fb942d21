"""Tables: what the board keeps. Bytes of stores lie beside the database, by their SHA-256."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


def new_id() -> str:
    """Returns an id that nobody can guess: 22 characters that a URL holds as they are."""
    return secrets.token_urlsafe(16).replace("-", "a").replace("_", "b")


def now() -> datetime:
    """Returns the time, UTC."""
    return datetime.now(UTC)


class Moment(TypeDecorator[datetime]):
    """A time that is UTC in every database; SQLite would forget the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Returns what is stored."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Returns what is read."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """What all tables share. Constraints have the same names in every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        datetime: Moment,
        dict[str, Any]: JSON,
        list[Any]: JSON,
        int: BigInteger,
        float: Double,
        bytes: LargeBinary,
        bool: Boolean,
        str: String(200),
    }


class User(Base):
    """Somebody with an account. ``role``: ``member`` or ``admin``."""

    __tablename__ = "users"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str] = mapped_column(default="member")
    created: Mapped[datetime] = mapped_column(default=now)
    disabled: Mapped[datetime | None]


class Invitation(Base):
    """Lets one person make an account; only the SHA-256 of its token is kept."""

    __tablename__ = "invitations"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    digest: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str] = mapped_column(default="member")
    created_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    created: Mapped[datetime] = mapped_column(default=now)
    expires: Mapped[datetime]
    used: Mapped[datetime | None]
    used_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))


class Token(Base):
    """Lets a program act for a user; only its SHA-256 is kept. ``scopes``: see auth.py."""

    __tablename__ = "tokens"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str]
    digest: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[Any]]
    created: Mapped[datetime] = mapped_column(default=now)
    expires: Mapped[datetime]
    revoked: Mapped[datetime | None]
    last_used: Mapped[datetime | None]
    user: Mapped[User] = relationship(lazy="joined")


class Blob(Base):
    """A file's bytes, complete and verified, kept once however many stores hold them."""

    __tablename__ = "blobs"
    digest: Mapped[str] = mapped_column(primary_key=True)
    size: Mapped[int]
    created: Mapped[datetime] = mapped_column(default=now)


class Submission(Base):
    """A predictions store that somebody hands in. ``state``: see states.py.

    Attributes:
        name: Name of the entry that it becomes a version of.
        benchmark: Id of the benchmark.
        version: Its version.
        digest: Its digest, as the manifest has it.
        context: Context length in frames.
        manifest: The manifest of the store.
        fact_sheet: What the authors say of it.
        source: "" for an upload, else the URL that it is fetched from.
        identity: SHA-256 over manifest, fact sheet and file list: the same twice is found by it.
        reason: Why it failed or was cancelled, a sentence for its submitter.
        fault: Whose fault a failure is: ``submission``, or ``platform``, which consumes no quota.
        log: What happened, without paths of the machine.
        bytes: Size of the store.
        files: Number of its files.
        counted: When it began to consume the daily quota; None where it does not.
    """

    __tablename__ = "submissions"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str]
    benchmark: Mapped[str]
    version: Mapped[int]
    digest: Mapped[str]
    context: Mapped[int]
    manifest: Mapped[dict[str, Any]]
    fact_sheet: Mapped[dict[str, Any]]
    source: Mapped[str] = mapped_column(String(2000), default="")
    identity: Mapped[str]
    state: Mapped[str] = mapped_column(default="uploading")
    reason: Mapped[str] = mapped_column(Text, default="")
    fault: Mapped[str] = mapped_column(default="")
    log: Mapped[str] = mapped_column(Text, default="")
    bytes: Mapped[int] = mapped_column(default=0)
    files: Mapped[int] = mapped_column(default=0)
    counted: Mapped[datetime | None]
    created: Mapped[datetime] = mapped_column(default=now)
    changed: Mapped[datetime] = mapped_column(default=now)
    committed: Mapped[datetime | None]
    finished: Mapped[datetime | None]
    entry_id: Mapped[str | None] = mapped_column(ForeignKey("entries.id"))
    user: Mapped[User] = relationship(lazy="joined")

    __table_args__ = (
        Index("submissions_of_user", "user_id", "created"),
        Index("submissions_by_state", "state", "committed"),
    )


class SubmissionFile(Base):
    """A file of a store: what its submitter announced, and what has arrived."""

    __tablename__ = "submission_files"
    submission_id: Mapped[str] = mapped_column(ForeignKey("submissions.id"), primary_key=True)
    path: Mapped[str] = mapped_column(String(500), primary_key=True)
    digest: Mapped[str] = mapped_column(index=True)
    size: Mapped[int]
    complete: Mapped[bool] = mapped_column(default=False)


class Job(Base):
    """Work for a worker. ``kind``: ``score``, ``rank``, ``rescore``; ``state``: see jobs.py.

    Attributes:
        subject: Id of the submission, or of the board.
        attempts: How often it was begun.
        worker: Who holds it.
        lease: Until when; whoever holds it must have renewed it by then.
        after: Not to be begun before.
        error: Why it failed, for the operator.
    """

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str]
    subject: Mapped[str] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(default="queued")
    attempts: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str] = mapped_column(default="")
    lease: Mapped[datetime | None]
    after: Mapped[datetime] = mapped_column(default=now)
    created: Mapped[datetime] = mapped_column(default=now)
    started: Mapped[datetime | None]
    ended: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(Text, default="")

    __table_args__ = (Index("jobs_by_state", "state", "after"),)


class Board(Base):
    """One benchmark digest, context length and data digest.

    Attributes:
        main: Whether it is of the server's own recording, which its address leads to.
        revision: Counts every change of what it shows.
        standings: What ranking.py made of it, and at which revision.
    """

    __tablename__ = "boards"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    benchmark: Mapped[str]
    version: Mapped[int]
    digest: Mapped[str]
    context: Mapped[int]
    data: Mapped[str]
    main: Mapped[bool] = mapped_column(default=False)
    revision: Mapped[int] = mapped_column(default=1)
    ranked: Mapped[int] = mapped_column(default=0)
    created: Mapped[datetime] = mapped_column(default=now)
    # Last, and megabytes: SQLite would walk through it for every column that came after.
    standings: Mapped[dict[str, Any] | None]

    __table_args__ = (UniqueConstraint("digest", "context", "data"),)


class Entry(Base):
    """A named submission on a board, through all its versions.

    Attributes:
        slug: Its name in addresses.
        origin: ``submission``, ``package`` (came with the package) or ``reported`` (published).
        visibility: ``private``, ``public`` or ``withdrawn``.
        verified: When an admin verified it.
        flag: Public reason of a flag, or "".
        withdrawn: Public reason of a withdrawal, or "".
    """

    __tablename__ = "entries"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    board_id: Mapped[str] = mapped_column(ForeignKey("boards.id"), index=True)
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"), index=True)
    slug: Mapped[str]
    name: Mapped[str]
    origin: Mapped[str] = mapped_column(default="submission")
    visibility: Mapped[str] = mapped_column(default="private")
    baseline: Mapped[bool] = mapped_column(default=False)
    verified: Mapped[datetime | None]
    flag: Mapped[str] = mapped_column(Text, default="")
    withdrawn: Mapped[str] = mapped_column(Text, default="")
    fact_sheet: Mapped[dict[str, Any]]
    reported: Mapped[dict[str, Any] | None]
    created: Mapped[datetime] = mapped_column(default=now)
    published: Mapped[datetime | None]
    board: Mapped[Board] = relationship(lazy="joined")
    user: Mapped[User | None] = relationship(lazy="joined")
    results: Mapped[list[Result]] = relationship(
        back_populates="entry", order_by="Result.version, Result.seed"
    )

    __table_args__ = (UniqueConstraint("board_id", "slug"),)


class Result(Base):
    """One scorecard: one seed of one version of an entry. Of the newest version are the ranks.

    Attributes:
        version: Version of the entry, from 1.
        seed: Seed as text, or "".
        card: The scorecard's JSON, byte by byte what ``zapeval score --json`` writes.
        sums: Its ``windows.npz``.
        maps: What the page draws of single neurons; see scoring.py.
        findings: Of the forensics.
        receipt: Signed.
    """

    __tablename__ = "results"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    entry_id: Mapped[str] = mapped_column(ForeignKey("entries.id"), index=True)
    submission_id: Mapped[str | None] = mapped_column(ForeignKey("submissions.id"), index=True)
    version: Mapped[int] = mapped_column(Integer)
    seed: Mapped[str] = mapped_column(default="")
    predictions: Mapped[str]
    partial: Mapped[bool]
    summary: Mapped[float | None]
    low: Mapped[float | None]
    high: Mapped[float | None]
    card: Mapped[str] = mapped_column(Text, deferred=True)
    sums: Mapped[bytes | None] = mapped_column(deferred=True)
    maps: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    findings: Mapped[list[Any]] = mapped_column(default=list)
    receipt: Mapped[dict[str, Any] | None]
    created: Mapped[datetime] = mapped_column(default=now)
    entry: Mapped[Entry] = relationship(back_populates="results")

    __table_args__ = (UniqueConstraint("submission_id", "entry_id"),)


class Audit(Base):
    """Who did what to what; rows are only ever added."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    at: Mapped[datetime] = mapped_column(default=now)
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str] = mapped_column(index=True)
    detail: Mapped[dict[str, Any]]
