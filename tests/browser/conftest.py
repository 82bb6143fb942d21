"""A board that is really served, and a real browser that looks at it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator

import placed
import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright
from servers import free_port, running
from visits import REASON, Served, Visit

from leaderboard.auth import SCOPES, issue
from leaderboard.database import Database
from leaderboard.migrations import upgrade
from leaderboard.settings import Settings
from leaderboard.tables import Submission, User, new_id, now

ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
)
PROGRAM = """
import sys, uvicorn
from pathlib import Path
from leaderboard.app import create_app
from leaderboard.settings import Settings
settings = Settings(data_dir=Path(sys.argv[1]), requests_per_minute=0)
uvicorn.run(create_app(settings), port=int(sys.argv[2]), log_level="warning")
"""


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A board with ranked entries, a private one and a failed submission."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("board"))
    database = Database(settings)
    upgrade(database)
    found = placed.place(database, ("linear", "mean", "persistence", "stimulus", "var"))
    placed.rank(database, found.board)
    placed.change(database, "id-of-stimulus", flag="Looks like a copy.", verified=now())
    with database.write() as session:
        user = User(name="ann")
        session.add(user)
        session.flush()
        _, secret = issue(session, user.id, "tests", SCOPES["member"], 1.0)
        failed = Submission(
            user_id=user.id,
            name="mine",
            benchmark="zapbench-mini",
            version=0,
            digest="",
            context=4,
            manifest={},
            fact_sheet={},
            identity=new_id(),
            state="failed",
            reason=REASON,
            fault="submission",
            committed=now(),
        )
        session.add(failed)
    database.close()
    port = free_port()
    program = (sys.executable, "-c", PROGRAM, str(settings.data_dir), str(port))
    with running(port, *program) as address:
        yield Served(address=address, secret=secret, failed=failed.id)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("needs chromium: install the package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, served: Served, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A page in a context of its own; a console error or a foreign request fails the test."""
    options = getattr(request, "param", {})
    context: BrowserContext = browser.new_context(base_url=served.address, **options)
    context.set_default_timeout(60_000)
    page, wrong = context.new_page(), list[str]()
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    # Going on to another page ends what this one was still fetching.
    page.on("requestfailed", lambda one: wrong.extend(_failed(one.url, one.failure)))
    page.on("request", lambda one: wrong.extend(_foreign(one.url, served.address)))
    yield Visit(page=page, wrong=wrong)
    context.close()
    assert not wrong


def _failed(url: str, why: str | None) -> list[str]:
    return [] if why == "net::ERR_ABORTED" else [f"failed: {url}: {why}"]


def _foreign(url: str, address: str) -> list[str]:
    ours = url.startswith((f"{address}/", "data:"))
    return [] if ours else [f"another host: {url}"]
