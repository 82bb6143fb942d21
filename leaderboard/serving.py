"""Serving: web service and scoring worker as one group of processes that lives and ends as one."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import final

from sqlalchemy import delete, func, select

from leaderboard.database import Database
from leaderboard.settings import Settings
from leaderboard.tables import Invitation, User
from zapeval.errors import Refused, UsageError

log = logging.getLogger(__name__)

SHORTEST, LONGEST = 0.5, 30.0
"""Seconds before a worker that died is started again: twice as long each time."""

STEADY = 60.0
"""Seconds after which a worker is taken to be well."""

GRACE = 10.0
"""Seconds that a worker has to put its job back before it is killed."""


def serve(settings: Settings, *, work: bool = True, say: Callable[[str], None] = print) -> None:
    """Serves a board until SIGTERM or SIGINT.

    Args:
        settings: The settings.
        work: Whether a scoring worker runs beside the service.
        say: Told the address, and at first how to come in.

    Raises:
        UsageError: Nothing can listen on that address.
        Refused: The database is of a newer version.
    """
    from leaderboard import logs
    from leaderboard.migrations import upgrade

    listening = _listen(settings)
    logs.configure()
    database = Database(settings)
    upgrade(database)
    say(f"zapeval: serving {address(settings, listening)}")
    invitation = first_invitation(database)
    if invitation:
        say(f"zapeval: nobody has an account; become the admin with the invitation {invitation}")
    supervisor = Supervisor(settings) if work else None
    try:
        _run(settings, listening, lambda: _behind(database, settings, supervisor))
    finally:
        if supervisor is not None:
            supervisor.end()
        database.close()


def address(settings: Settings, listening: socket.socket) -> str:
    """Returns where users reach the service."""
    if settings.public_url:
        return settings.public_url
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@final
class Supervisor:
    """Keeps one worker process running."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="supervisor", daemon=True)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the worker, or None where none runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Starts the worker."""
        self._thread.start()

    def end(self) -> None:
        """Ends the worker: it puts its job back, or is killed."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _keep(self) -> None:
        wait = SHORTEST
        while not self._stop.is_set():
            begun = time.monotonic()
            self._process = start_worker(self._settings)
            while self._process.poll() is None and not self._stop.wait(0.1):
                pass
            if self._stop.is_set():
                break
            lived = time.monotonic() - begun
            wait = SHORTEST if lived > STEADY else min(2 * wait, LONGEST)
            log.error(
                "the worker ended with status %d; another starts in %g s",
                self._process.returncode,
                wait,
            )
            self._stop.wait(wait)
        if self._process is not None:
            _end(self._process)


def start_worker(settings: Settings) -> subprocess.Popen[bytes]:
    """Starts a worker that ends when this process does."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "leaderboard.worker", str(os.getpid())],
        stdin=subprocess.PIPE,
        # Ctrl-C is for this process to hear, which then ends the worker.
        start_new_session=True,
    )
    if process.stdin is not None:
        process.stdin.write(settings.model_dump_json().encode())
        process.stdin.close()
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _listen(settings: Settings) -> socket.socket:
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family = found[0][0]
        return socket.create_server(found[0][4][:2], family=family, backlog=512, reuse_port=False)
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError(
            f"{settings.host}, port {settings.port}: can't be listened on: {why}; choose another "
            "with --host and --port"
        ) from error


def _run(settings: Settings, listening: socket.socket, then: Callable[[], None]) -> None:
    """Runs the web service in this thread, which hears the signals; and something once it is up."""
    import uvicorn

    from leaderboard.app import create_app

    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(GRACE),
    )
    server = uvicorn.Server(config)
    for one in (signal.SIGTERM, signal.SIGINT):
        # The server hears them too, and raises them once more when it has ended: by default that
        # would end this process before its worker.
        signal.signal(one, lambda *_: setattr(server, "should_exit", True))

    def wait() -> None:
        while not (server.started or server.should_exit):
            time.sleep(0.05)
        if server.started:
            then()

    threading.Thread(target=wait, name="behind", daemon=True).start()
    server.run(sockets=[listening])
    if not server.started:
        raise Refused("the service could not start; see the log")


def first_invitation(database: Database) -> str:
    """Returns an invitation for the admin, as long as nobody has an account; else ""."""
    from leaderboard import audit, people

    with database.write() as session:
        if session.scalar(select(func.count()).select_from(User)):
            return ""
        # One at a time: what an earlier start printed may lie in some log.
        session.execute(delete(Invitation))
        return people.invite(session, audit.OPERATOR, role="admin")[1]


def _behind(database: Database, settings: Settings, supervisor: Supervisor | None) -> None:
    """Does what a service that answers need not wait for."""
    from leaderboard.seeding import seed

    if supervisor is not None:
        supervisor.start()
    try:
        changed = seed(database, settings)
    except Exception:
        log.exception("entries: could not be read")
    else:
        log.info("entries: %d changed", changed)
