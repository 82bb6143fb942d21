"""From predictions to a rank: real processes, and what a user types, reads and downloads."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from processes import run, serving, until, working
from queued import write_store

from leaderboard.settings import API, Settings
from leaderboard.storage import Storage

pytestmark = pytest.mark.slow

BENCHMARK = "zapbench-smoke"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that somebody has set reaches a command."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("ZAPEVAL_TOKEN", raising=False)


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board that runs, and the account of its first user.

    Attributes:
        address: Where it is.
        token: The user's.
    """

    address: str
    token: str

    def get(self, path: str, token: str = "") -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = httpx2.get(self.address + API + path, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def board(settings: Settings, *, apart: bool = False) -> Iterator[Board]:
    """A board whose first invitation was taken; ``apart`` with a worker of its own."""
    with ExitStack() as stack:
        arguments = ["--no-worker"] if apart else []
        _, address, said = stack.enter_context(serving(settings, *arguments))
        if apart:
            stack.enter_context(working(settings))
        (invitation,) = re.findall(r"the invitation (zap_\S+)", said)
        yield Board(address=address, token=signed_in(address, "ann", invitation))


def signed_in(address: str, name: str, invitation: str) -> str:
    """Makes an account with ``zapeval login``; returns the token that it kept."""
    done = run("login", address, "--invitation", "--name", name, given=f"{invitation}\n")
    assert done.returncode == 0, done.stderr
    assert f"signed in as {name}" in done.stdout
    (kept,) = re.findall(r"the token is in (.+)", done.stdout)
    return str(json.loads(Path(kept).read_text())[address])


def forecast(folder: Path, name: str, context: int) -> Path:
    store = folder / f"{name}-{context}.zarr"
    done = run("forecast", name, "-b", BENCHMARK, "-c", context, "--out", store)
    assert done.returncode == 0, done.stderr
    return store


def submit(board: Board, store: Path, name: str, *more: str, **variables: str) -> Any:
    return run("submit", store, "--to", board.address, "--name", name, *more, **variables)


def saved(answer: httpx2.Response, folder: Path) -> Path:
    """Saves a download under the name that it comes with."""
    assert answer.status_code == 200, answer.text
    (name,) = re.findall(r'filename="([^"/]+)"', answer.headers["content-disposition"])
    path = folder / str(name)
    path.write_bytes(answer.content)
    return path


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"], indirect=True)
def test_predictions_become_a_rank_with_the_numbers_of_home(
    backend: str, empty_url: str, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path / "board", database=empty_url)
    kept: dict[str, Path] = {}
    with board(settings, apart=backend == "postgresql") as there:
        for name, context in (("mean", 4), ("persistence", 4), ("mean", 256)):
            store = forecast(tmp_path, name, context)
            done = submit(there, store, f"{name}-of-ann", "--wait")
            assert done.returncode == 0, done.stderr
            (one,) = re.findall(r"submission (\S+):", done.stdout)
            assert there.get(f"/submissions/{one}", there.token)["state"] == "scored"
            (entry,) = re.findall(r"/entries/(\S+)", done.stdout)
            kept[f"{name}-{context}"] = held_against_home(there, entry, store, tmp_path)
            published(there, entry)
            ranked(there, entry, f"{name}-of-ann", context)
        verified(there, kept, tmp_path)


def held_against_home(board: Board, entry: str, store: Path, folder: Path) -> Path:
    """Compares an entry's downloads with what ``zapeval score`` says here, bit for bit."""
    home = folder / f"{store.stem}.home.json"
    done = run("score", store, "--json", home)
    assert done.returncode == 0, done.stderr
    here = json.loads(home.read_text())
    with httpx2.Client(base_url=board.address) as client:
        client.headers["Authorization"] = f"Bearer {board.token}"
        page = client.get(f"/entries/{entry}")
        assert page.status_code == 200 and "Only you see this entry" in page.text
        links = re.findall(
            r'href="([^"]+/(?:scorecard\.json|windows\.npz|receipt\.json))"', page.text
        )
        target = folder / store.stem
        target.mkdir()
        card, sums, _ = (saved(client.get(link), target) for link in links)
    there = json.loads(card.read_text())
    assert len(there["scores"]) > 1000
    for key in ("scores", "summary", "intervals", "benchmark", "data", "predictions", "series"):
        assert there[key] == here[key], key
    assert sums.read_bytes() == home.with_suffix(".windows.npz").read_bytes()
    rows = {(one["series"], one["step"], one["metric"]): one for one in here["scores"]}
    shown = board.get(f"/entries/{entry}/scores", board.token)["scores"]
    assert len(shown) > 100
    for one in shown:
        row = rows[one["series"], one["step"], one["metric"]]
        assert [one[key] for key in ("value", "low", "high")] == [
            row[key] for key in ("value", "low", "high")
        ]
    return card


def published(board: Board, entry: str) -> None:
    """Publishes an entry as its owner does: with the form of its page."""
    with httpx2.Client(base_url=board.address) as client:
        # Nobody else sees it before.
        assert client.get(f"/entries/{entry}").status_code == 404
        assert client.post("/sign-in", data={"token": board.token}).status_code == 303
        page = client.get(f"/entries/{entry}").text
        (csrf,) = set(re.findall(r'name="csrf" value="([^"]+)"', page))
        answer = client.post(f"/entries/{entry}/publish", data={"csrf": csrf})
        assert answer.status_code == 303, answer.text
    assert "Everybody sees this entry" not in httpx2.get(f"{board.address}/entries/{entry}").text


def ranked(board: Board, entry: str, name: str, context: int) -> None:
    """The entry stands on the board, for everybody: page and JSON say the same rank."""
    path = f"/boards/{BENCHMARK}/{context}"

    def row() -> Any:
        rows = board.get(f"{path}?page=all")["rows"]
        found = [one for one in rows if one["entry"] == entry]
        return found[0] if found else None

    found = until(row)
    assert found["rank"] >= 1 and found["slug"] == name
    page = httpx2.get(board.address + path).text
    (line,) = [one for one in re.findall(r"<tr.*?</tr>", page, re.S) if f"/entries/{entry}" in one]
    assert re.sub(r"<[^>]+>", " ", line).split()[0] == str(found["rank"])
    assert f"{found['summary']['value']:.5f}" in line


def verified(board: Board, kept: dict[str, Path], folder: Path) -> None:
    """Receipts hold for what was downloaded, and the scorecards can be compared."""
    key = folder / "board.pem"
    key.write_text(board.get("/key")["pem"])
    for card in kept.values():
        receipt = card.with_name(card.name.replace(".json", ".receipt.json"))
        done = run("receipt", "verify", receipt, card, "--public-key", key)
        assert (done.returncode, "the receipt holds" in done.stdout) == (0, True), done
        changed = card.with_name("changed.json")
        changed.write_text(
            re.sub(r'"value": 0\.0(\d)', r'"value": 0.1\1', card.read_text(), count=1)
        )
        shutil.copy(receipt, folder / "other.receipt.json")
        done = run("receipt", "verify", receipt, changed, "--public-key", key)
        assert done.returncode != 0 and done.stderr
        changed.unlink()
    done = run("compare", kept["mean-4"], kept["persistence-4"])
    assert done.returncode == 0, done.stderr
    assert "mean" in done.stdout and "persistence" in done.stdout


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_whatever_goes_wrong_the_terminal_says_why(empty_url: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "board", database=empty_url)
    store = write_store(tmp_path / "good.zarr")
    with serving(settings, "--no-worker") as (_, address, said):
        (invitation,) = re.findall(r"the invitation (zap_\S+)", said)
        there = Board(address=address, token=signed_in(address, "ann", invitation))

        partial = shutil.copytree(store, tmp_path / "partial.zarr")
        lost = next(path for path in sorted(partial.rglob("c/**/*")) if path.is_file())
        lost.unlink()
        refused(submit(there, partial, "mine"), lost.relative_to(partial).parts[0], "missing")

        other = run("forecast", "persistence", "-b", "sines-small", "--out", tmp_path / "worm.zarr")
        assert other.returncode == 0, other.stderr
        wrong = submit(there, tmp_path / "worm.zarr", "mine", "--benchmark", BENCHMARK)
        refused(wrong, "sines-small", BENCHMARK)

        refused(submit(there, store, "mine", ZAPEVAL_TOKEN="zap_" + "x" * 43), "token")
        submitted = submit(there, store, "mine", "--no-wait")
        assert submitted.returncode == 0, submitted.stderr
        refused(submit(there, store, "mine", ZAPEVAL_TOKEN=somebody(there)), "'mine' is taken")

        (one,) = re.findall(r"submission (\S+): queued", submitted.stdout)
        spoilt = next(p for p in Storage(settings).store(one).rglob("c/**/*") if p.is_file())
        size = spoilt.stat().st_size
        spoilt.unlink()
        spoilt.write_bytes(b"\xff" * size)
        with working(settings):
            refused(submit(there, store, "mine", "--wait"), one, "failed", spoilt.parts[-5])


def somebody(board: Board) -> str:
    """Invites another user; returns their token."""
    headers = {"Authorization": f"Bearer {board.token}"}
    with httpx2.Client(base_url=board.address + API) as client:
        invited = client.post("/invitations", json={}, headers=headers).json()
        made = client.post("/accounts", json={"invitation": invited["secret"], "name": "bob"})
    return str(made.json()["token"]["secret"])


def refused(done: subprocess.CompletedProcess[str], *said: str) -> None:
    """A command that failed says why on the terminal, and nothing of how it was made."""
    assert done.returncode not in (0, 1) or done.stderr, done
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    told = " ".join(done.stderr.split())
    for part in said:
        assert part in told, (part, told)
