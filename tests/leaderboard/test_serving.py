import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx2
import pytest
from processes import PROGRAM, alive, family, serving, until, workers
from queued import queue, user_of, write_store
from typer.testing import CliRunner

from leaderboard import people
from leaderboard.database import Database
from leaderboard.jobs import JobState
from leaderboard.keys import public_key
from leaderboard.problems import Unauthenticated
from leaderboard.serving import first_invitation
from leaderboard.settings import Settings
from leaderboard.states import State
from leaderboard.tables import Job, Submission
from zapeval.cli.app import app


@pytest.mark.slow
def test_one_command_serves_scores_and_ends_as_one(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    store = write_store(tmp_path / "store.zarr")
    with serving(settings) as (process, address, said):
        assert "become the admin with the invitation zap_" in said
        pem = httpx2.get(f"{address}/api/v1/key").json()["pem"]
        assert pem == public_key(settings).read_text()
        one = queue(database, settings, user_of(database, "ann"), store)
        until(lambda: state(database, one) == State.scored)
        # Seeded behind the service that answers.
        until(lambda: len(httpx2.get(f"{address}/api/v1/boards").json()["boards"]) > 1)

        until(lambda: workers(process))
        (worker,) = workers(process)
        worker.kill()
        until(lambda: alive(workers(process)) and workers(process) != [worker])

        all_of_them = family(process)
        assert len(all_of_them) >= 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        # The worker ended before the process that started it.
        assert not alive(all_of_them)
    with serving(settings, "--no-worker") as (process, address, said):
        assert "invitation" not in said
        time.sleep(1)
        assert workers(process) == []


def state(database: Database, submission: str) -> str:
    with database.read() as session:
        return session.get_one(Submission, submission).state


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_server_that_is_killed_takes_its_worker_along_and_loses_nothing(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    store = write_store(tmp_path / "store.zarr")
    one = queue(database, settings, user_of(database, "ann"), store)
    with serving(settings) as (process, _, _):
        until(lambda: state(database, one) != State.queued)
        all_of_them = family(process)
        process.kill()
        process.wait()
        until(lambda: not alive(all_of_them))
    if state(database, one) != State.scored:
        with database.read() as session:
            (job,) = session.query(Job).filter(Job.kind == "score").all()
        # The worker had the time to put it back.
        assert (job.state, state(database, one)) == (JobState.queued, State.queued)
    with serving(settings):
        until(lambda: state(database, one) == State.scored)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_port_that_is_taken_is_said_so(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run(
            [*PROGRAM, "serve", "--data-dir", str(settings.data_dir), "--port", str(port)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert f"port {port}: can't be listened on" in done.stderr


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_variable_that_is_wrong_is_named(command: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*PROGRAM, command, "--data-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"ZAPEVAL_LEASE": "-3"},
    )
    assert done.returncode == 2
    assert "ZAPEVAL_LEASE" in done.stderr


def test_the_commands_are_listed_without_being_loaded() -> None:
    done = CliRunner().invoke(app, ["--help"])
    assert "serve" in done.output and "worker" in done.output


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_worker_of_its_own_scores_what_is_queued(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    one = queue(database, settings, user_of(database, "ann"), write_store(tmp_path / "s.zarr"))
    process = subprocess.Popen(
        [*PROGRAM, "worker", "--data-dir", str(settings.data_dir)], stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: state(database, one) == State.scored)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_only_the_newest_of_the_first_invitations_is_good(
    database: Database, settings: Settings
) -> None:
    old, new = first_invitation(database), first_invitation(database)
    with database.write() as session, pytest.raises(Unauthenticated):
        people.join(session, settings, old, "early")
    with database.write() as session:
        assert people.join(session, settings, new, "ann")[0].role == "admin"
    assert first_invitation(database) == ""
