"""Visits: a served board, and what a browser saw of it."""

from __future__ import annotations

from dataclasses import dataclass

from playwright.sync_api import Page

REASON = "test_condition_3[0, 4, 17]: is nan, expected a finite number; forecast it again"


@dataclass(frozen=True, kw_only=True)
class Served:
    """A board that is served.

    Attributes:
        address: Where.
        secret: Token of a member.
        failed: Id of a submission of theirs that failed.
    """

    address: str
    secret: str
    failed: str


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A page with what went wrong on it."""

    page: Page
    wrong: list[str]
