"""The client: what it sends, what it says of what it meets, and what it can do without."""

from __future__ import annotations

import json
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from accounts import Person
from certificates import certificate
from fastapi import FastAPI
from queued import write_store
from recordings.conftest import s3, s3_address  # noqa: F401
from servers import BUCKET
from sqlalchemy import select
from typer.testing import CliRunner, Result
from uploading import manifest
from webserver import serving

from leaderboard import people
from leaderboard.client import Board, address_of
from leaderboard.credentials import credentials_file, find_token, keep_token
from leaderboard.database import Database
from leaderboard.sending import Sender, files_of, hashed
from leaderboard.settings import Settings
from leaderboard.states import State, locked, move
from leaderboard.storage import Storage
from leaderboard.tables import Submission
from leaderboard.worker import Worker
from zapeval.cli.app import app as program
from zapeval.errors import InvalidInput, NotFound, Refused, UsageError

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def backend() -> str:
    """What lies behind the interface is no matter here."""
    return "sqlite"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of nobody in particular."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    for name in ("ZAPEVAL_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def address(app: FastAPI) -> Iterator[str]:
    """A board that is served."""
    with serving(app) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def good_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("stores") / "good.zarr")


def run(*arguments: object, given: str = "", **environment: str) -> Result:
    """Runs a command in this process."""
    return CliRunner().invoke(
        program, [str(one) for one in arguments], input=given, env=environment
    )


def failed(outcome: Result, error: type[Exception]) -> str:
    assert isinstance(outcome.exception, error), outcome
    return str(outcome.exception)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("https://Board.example.org/", "https://board.example.org"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("https://example.org/boards/", "https://example.org/boards"),
    ],
)
def test_an_address_has_one_plain_form(text: str, plain: str) -> None:
    assert address_of(text) == plain


@pytest.mark.parametrize(
    "text", ["", "example.org", "ftp://a", "https://", "https://a:b@c", "https://a?b", "http://[x"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        address_of(text)


def test_a_store_is_submitted_scored_and_reported(
    address: str, member: Person, good_store: Path, settings: Settings, database: Database
) -> None:
    sent = run(
        *("submit", good_store, "--to", address, "--name", "mine", "--no-wait"),
        ZAPEVAL_TOKEN=member.secret,
    )
    assert sent.exit_code == 0, sent
    with database.read() as session:
        (submission,) = session.scalars(select(Submission)).all()
    assert f"submission {submission.id}: queued" in sent.stdout
    store = Storage(settings).store(submission.id)
    here = {p.relative_to(good_store): p.read_bytes() for p in good_store.rglob("*") if p.is_file()}
    assert here == {p.relative_to(store): p.read_bytes() for p in store.rglob("*") if p.is_file()}
    worker = Worker(settings)
    while worker.work():
        pass
    told = run("submit", good_store, "--to", address, "--name", "mine", ZAPEVAL_TOKEN=member.secret)
    assert told.exit_code == 0, told
    assert f"submission {submission.id}: scored" in told.stdout
    assert "rank   none yet: the entry is private; publish it on its page" in told.stdout
    assert f"board  {address}/boards/zapbench-smoke@0/4" in told.stdout
    with Board(address, member.secret) as board:
        scored = board.get(f"/submissions/{submission.id}")["scored"]
    assert f"entry  {address}/entries/{scored['entry']}" in told.stdout
    assert f"{scored['summary']['value']:.6g}" in told.stdout
    local = run("score", good_store, "--json", "-")
    assert json.loads(local.stdout)["summary"]["value"] == scored["summary"]["value"]


@pytest.mark.parametrize(
    ("state", "fault", "error"),
    [
        (State.failed, "submission", InvalidInput),
        (State.failed, "platform", Refused),
        (State.cancelled, "", Refused),
    ],
)
def test_what_did_not_come_to_a_score_ends_with_its_reason(
    address: str,
    member: Person,
    good_store: Path,
    database: Database,
    state: State,
    fault: str,
    error: type[Exception],
) -> None:
    def end() -> None:
        while True:
            with database.write() as session:
                for one in session.scalars(select(Submission.id)).all():
                    submission = locked(session, one)
                    if submission is not None and submission.state == State.queued:
                        move(submission, state, reason="it broke here", fault=fault)
                        return

    worker = threading.Thread(target=end)
    worker.start()
    outcome = run(
        *("submit", good_store, "--to", address, "--name", "mine", "--quiet"),
        ZAPEVAL_TOKEN=member.secret,
    )
    worker.join()
    assert "it broke here" in failed(outcome, error)


def test_the_check_stops_it_before_a_byte_of_it_is_sent(member: Person, tmp_path: Path) -> None:
    bad = write_store(tmp_path / "bad.zarr")
    for chunk in (bad / "test_condition_1").rglob("0"):
        if chunk.is_file():
            chunk.unlink()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0.2)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        outcome = run("submit", bad, "--to", address, "--name", "mine", ZAPEVAL_TOKEN=member.secret)
        assert "test_condition_1" in failed(outcome, InvalidInput)
        with pytest.raises(TimeoutError):
            silent.accept()


def test_a_board_that_refuses_says_all_that_is_wrong(
    address: str, member: Person, good_store: Path
) -> None:
    outcome = run(
        "submit", good_store, "--to", address, "--name", "My Model", ZAPEVAL_TOKEN=member.secret
    )
    assert "such as 'my-model'" in failed(outcome, InvalidInput)
    outcome = run("submit", good_store, "--to", address, "--name", "a", ZAPEVAL_TOKEN="zap_wrong")
    assert f"sign in with `zapeval login {address}`" in failed(outcome, Refused)


def test_a_board_fetches_a_store_from_its_address_itself(
    address: str,
    member: Person,
    good_store: Path,
    app: FastAPI,
    settings: Settings,
    s3: Any,  # noqa: F811
) -> None:
    for file in good_store.rglob("*"):
        if file.is_file():
            key = f"p.zarr/{file.relative_to(good_store)}"
            s3.put_object(Bucket=BUCKET, Key=key, Body=file.read_bytes())
    source = f"s3://{BUCKET}/p.zarr"
    options = ("--to", address, "--name", "mine", "--no-wait")
    said = {"ZAPEVAL_TOKEN": member.secret}
    assert "not on this machine" in failed(run("submit", source, *options, **said), InvalidInput)
    refused = run("submit", source, "--source", *options, **said)
    assert "this board fetches no stores" in failed(refused, InvalidInput)
    app.state.settings = allowing = settings.model_copy(update={"buckets": (f"s3://{BUCKET}",)})
    assert run("submit", source, "--source", *options, **said).exit_code == 0
    worker = Worker(allowing)
    while worker.work():
        pass
    told = run("submit", source, "--source", *options[:-1], **said)
    assert (told.exit_code, ": scored" in told.stdout) == (0, True), told


def test_without_a_token_nothing_is_tried(good_store: Path) -> None:
    outcome = run("submit", good_store, "--to", "https://board.example.org", "--name", "a")
    said = failed(outcome, Refused)
    assert "sign in with `zapeval login https://board.example.org`, or set ZAPEVAL_TOKEN" in said


def test_a_fact_sheet_goes_along(
    address: str, member: Person, good_store: Path, database: Database, tmp_path: Path
) -> None:
    sheet = tmp_path / "sheet.toml"
    sheet.write_text(
        'name = "A model"\nauthors = ["A. Author"]\ntraining_data = "frames"\n'
        'future_stimulus = false\nmodel_per_step = false\nleakage = "none"\n'
    )
    options = ("--to", address, "--name", "mine", "--no-wait", "--fact-sheet", sheet)
    outcome = run("submit", good_store, *options, ZAPEVAL_TOKEN=member.secret)
    assert outcome.exit_code == 0, outcome
    with database.read() as session:
        kept = session.scalars(select(Submission)).one().fact_sheet
    assert (kept["name"], kept["complete"]) == ("A model", True)


def test_what_is_no_part_of_a_store_stays_at_home(tmp_path: Path) -> None:
    store = tmp_path / "p.zarr"
    (store / "a/c").mkdir(parents=True)
    (store / "a/c/0").write_bytes(b"1")
    (store / "zarr.json").write_bytes(b"{}")
    (store / "secrets.txt").write_bytes(b"2")
    (store / ".git").mkdir()
    (store / ".git/config").write_bytes(b"3")
    files, others = files_of(store)
    assert [file.path for file in files] == ["a/c/0", "zarr.json"]
    assert others == [".git/config", "secrets.txt"]
    (store / "a/c/1").symlink_to(store / "secrets.txt")
    with pytest.raises(InvalidInput, match="a/c/1: is a link"):
        files_of(store)
    (store / "a/c/1").unlink()
    (store / "a/c/1").touch()
    with pytest.raises(InvalidInput, match="a/c/1: is empty"):
        files_of(store)


def test_a_file_that_changes_while_it_is_sent_is_named(
    address: str, member: Person, tmp_path: Path
) -> None:
    store = tmp_path / "p.zarr"
    (store / "a/c").mkdir(parents=True)
    (store / "a/c/0").write_bytes(b"before")
    (store / "zarr.json").write_bytes(b"{}")
    with Board(address, member.secret) as board:
        files = hashed(files_of(store)[0], lambda done: None)
        listed = [file.announced for file in files]
        found = board.post("/submissions", {"name": "a", "manifest": manifest(), "files": listed})
        (store / "a/c/0").write_bytes(b"after!")
        sender = Sender(board, found["id"], lambda done: None)
        with pytest.raises(InvalidInput, match="a/c/0: its bytes have another SHA-256"):
            sender.send(files, found["missing"])
        (store / "a/c/0").write_bytes(b"1")
        found = board.post("/submissions", {"name": "a", "manifest": manifest(), "files": listed})
        with pytest.raises(InvalidInput, match="has become shorter"):
            sender.send(files, found["missing"])


@contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Serves one answer to whatever is asked; gives the address."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            answer(self)

        do_POST = do_PUT = do_GET  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reply(status: int, body: bytes, kind: str, **headers: str) -> Any:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Type", kind)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return answer


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (reply(200, b"<html>", "text/html"), NotFound, "is no zapeval board: answered HTTP 200"),
        (reply(404, b"", "text/plain"), NotFound, "is no zapeval board: answered HTTP 404"),
        (reply(200, b"{", "application/json"), NotFound, "is no zapeval board"),
        (reply(200, b"[]", "application/json"), NotFound, "is no zapeval board"),
        (reply(302, b"", "a/b", Location="https://e.org"), NotFound, "leads to https://e.org"),
        (reply(403, b'{"detail": "no"}', "application/problem+json"), Refused, ": no"),
        (reply(409, b'{"title": "t"}', "application/problem+json"), Refused, ": t"),
        (reply(404, b'{"detail": "x"}', "application/problem+json"), NotFound, ": x"),
        (
            reply(429, b'{"detail": "next slot"}', "application/problem+json", Retry_After="9000"),
            Refused,
            "next slot",
        ),
        (
            reply(
                422,
                b'{"detail": "d", "findings": ["one", {"where": "w", "what": "x"}]}',
                "application/problem+json",
            ),
            InvalidInput,
            "d\n- one\n- w: x",
        ),
        (reply(503, b"", "text/html"), NotFound, "is the address right, and the board running?"),
    ],
)
def test_what_a_server_answers_is_told_in_a_sentence(
    answer: Any, error: type[Exception], says: str
) -> None:
    with answering(answer) as address, Board(address) as board, pytest.raises(error) as caught:
        board.get("/account")
    assert says in str(caught.value)


def test_a_busy_board_is_waited_for_and_asked_again() -> None:
    asked = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        busy = [(429, {"Retry_After": "0"}), (503, {}), (502, {})]
        if len(asked) <= len(busy):
            status, headers = busy[len(asked) - 1]
            reply(status, b'{"detail": "busy"}', "application/json", **headers)(request)
        else:
            reply(200, b'{"fine": true}', "application/json")(request)

    with answering(answer) as address, Board(address) as board:
        assert board.get("/a") == {"fine": True}
    assert asked == ["/api/v1/a"] * 4


def test_a_server_that_is_not_there_or_lies_behind_a_wrong_certificate_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Board(f"http://127.0.0.1:{port}") as board, pytest.raises(NotFound, match="be reached"):
        board.get("/a")
    with answering(reply(200, b"{}", "application/json")) as address:
        tls = address.replace("http://", "https://")
        with Board(tls) as board, pytest.raises(Refused, match="does not speak https"):
            board.get("/a")


def test_a_certificate_of_nobody_is_not_trusted(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    with socket.create_server(("127.0.0.1", 0)) as plain:
        address = f"https://127.0.0.1:{plain.getsockname()[1]}"

        def accept() -> None:
            connection = plain.accept()[0]
            with connection, pytest.raises(ssl.SSLError):
                context.wrap_socket(connection, server_side=True)

        thread = threading.Thread(target=accept)
        thread.start()
        with Board(address) as board, pytest.raises(Refused, match="certificate can't be verified"):
            board.get("/a")
        thread.join()


def test_signing_in_keeps_a_token_that_only_its_owner_can_read(
    address: str, member: Person
) -> None:
    outcome = run("login", f"{address}/", given=f"{member.secret}\n")
    assert outcome.exit_code == 0, outcome
    assert f"{address}: signed in as member" in outcome.stdout
    assert member.secret not in outcome.output
    assert stat.S_IMODE(credentials_file().stat().st_mode) == 0o600
    assert find_token(address) == member.secret
    keep_token("https://other.example.org", "zap_other")
    assert find_token(address) == member.secret
    credentials_file().chmod(0o644)
    with pytest.raises(Refused, match="others can read it"):
        find_token(address)


def test_a_wrong_token_is_not_kept(address: str) -> None:
    outcome = run("login", address, given="zap_wrong\n")
    assert "the token is not known here" in failed(outcome, Refused)
    assert not credentials_file().exists()
    assert "that is no token" in failed(run("login", address, given="\n"), UsageError)


def test_an_invitation_makes_an_account(address: str, database: Database, admin: Person) -> None:
    with database.write() as session:
        _, secret = people.invite(session, admin.user_id)
    options = ("--invitation", "--name", "newcomer")
    outcome = run("login", address, *options, given=f"{secret}\n")
    assert outcome.exit_code == 0, outcome
    assert "signed in as newcomer" in outcome.stdout
    with Board(address, find_token(address)) as board:
        assert board.get("/account")["name"] == "newcomer"
    again = run("login", address, *options, given=f"{secret}\n")
    assert "invitation is not valid" in failed(again, Refused)
    assert "go together" in failed(run("login", address, "--invitation"), UsageError)


def test_without_the_http_library_it_says_what_to_install(good_store: Path) -> None:
    program = (
        "import sys\nsys.modules['httpx2'] = None\n"
        f"sys.argv = ['zapeval', 'submit', {str(good_store)!r}]\n"
        "sys.argv += ['--to', 'http://a', '--name', 'a']\n"
        "from zapeval.cli.app import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == UsageError.exit_code
    assert "install it with `pip install 'zapeval[submit]'`" in done.stderr


@pytest.mark.slow
def test_an_upload_that_is_interrupted_five_times_sends_no_byte_twice_but_in_flight(
    tmp_path: Path,
) -> None:
    program = PROJECT / "bench" / "upload.py"
    options = ["--megabytes", "8", "--part", "65536", "--folder", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, program, *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    report = json.loads(done.stdout)
    assert (report["interruptions"], report["client_exit"]) == (5, 0)
    assert report["longest_in_one_part"] <= report["part"]
    assert "test_condition_0/c/0: its bytes have another SHA-256" in report["tampered"]
