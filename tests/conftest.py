"""The ground under every test: no network, no silent skips, the same examples each time."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Generator, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pytest

PROJECT = Path(__file__).resolve().parents[1]
NEEDS_RECORDINGS = "needs recordings at ../shared/data or $ZAPEVAL_TEST_DATA"

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

hypothesis.settings.register_profile("zapeval", derandomize=True, deadline=None)
hypothesis.settings.load_profile("zapeval")


def find_recordings() -> Path | None:
    """Returns the folder of real recordings, or None where there is none.

    Where $ZAPEVAL_TEST_DATA is set, no other place is looked at.
    """
    named = os.environ.get("ZAPEVAL_TEST_DATA")
    folder = Path(named) if named else PROJECT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def recordings_folder() -> Path:
    """The folder of real recordings; a test that asks for it is skipped where there is none."""
    folder = find_recordings()
    if folder is None:
        pytest.skip(NEEDS_RECORDINGS)
    return folder


@pytest.fixture(scope="session", autouse=True)
def offline() -> Iterator[None]:
    """Fails whatever connects from this process to another machine."""
    with pytest.MonkeyPatch.context() as patch:
        for method in ("connect", "connect_ex"):
            patch.setattr(socket.socket, method, _guarded(getattr(socket.socket, method)))
        yield


@pytest.fixture(autouse=True)
def path_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes back what a test adds to the module path: plugin files open their folders."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr("zapeval.registry._folders", set())


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turns a skipped test into a failed one, where the skip is not expected."""
    report = yield
    return _judged(report)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turns a skipped module into a failed one, where the skip is not expected."""
    report = yield
    return _judged(report)


def _judged(report: Report) -> Report:
    """Returns the report, failed where CI is set and it skips for a reason not expected."""
    if not os.environ.get("CI") or not report.skipped or hasattr(report, "wasxfail"):
        return report
    where: Any = report.longrepr  # of a skip: (path, line, reason)
    reason = where[2].removeprefix("Skipped: ")
    if not _expected(reason):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: skipped in CI, and nobody expected it: {reason}"
    return report


def _expected(reason: str) -> bool:
    """Says whether CI may skip for that reason; each one is listed here with its condition."""
    if reason.startswith("needs the right to mount a small disk"):
        return os.geteuid() != 0
    return reason.startswith("needs recordings at") and find_recordings() is None


def _guarded(method: Any) -> Any:
    """Returns a socket method that fails the test unless the address is on this machine."""

    def connect(sock: socket.socket, address: Any) -> Any:
        if sock.family != getattr(socket, "AF_UNIX", None) and not _is_loopback(address[0]):
            pytest.fail(f"connects to {address[0]}: tests run offline; start a server on 127.0.0.1")
        return method(sock, address)

    return connect


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
