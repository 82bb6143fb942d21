"""Hostile: what a board is sent, or meets, that it must survive; each through its own interface.

Which test holds which case (where no module is named, it is here):

Archives and paths
- ``..``, absolute, NUL, reserved and over-long names: no_name_leaves_its_store; test_paths
- links and devices: only_plain_files_come_of_what_is_sent; test_client (left at home); a linked
  chunk on the server's disk: test_scorer
- names that come twice, or that a file system takes for one: test_intake, test_paths
- high ratio: a chunk that inflates (stores_that_are_wrong); very many files, sizes that lie:
  test_intake, test_bodies, test_uploads

Metadata (stores_that_are_wrong, but for what scores: stores_that_are_odd)
- huge, negative, fractional, overflowing shapes and chunks, no axis, 33 axes
- format 2 scores, formats mixed do not; a group for an array
- unknown codecs, lying blosc headers, nested shards; objects, complex, whole, big-endian numbers
- fill values that hide missing chunks; metadata too long, too deep, with keys twice, no text
- swapped axes, wrong counts of neurons, windows, steps, conditions

Values
- NaN and infinity (stores_that_are_wrong); the largest numbers, denormals, constants, copies and
  shifted copies of the targets, float16 (stores_that_are_odd)

Protocol
- wrong lengths, bodies over the limit, slow clients, disconnects: test_bodies; a part twice, other
  bytes than announced: test_uploads, test_protocol
- the same submission twice, or at once: test_uploads
- no slot left, whoever asks: test_uploads; parallel requests at the limit: here
- cancelled while it is scored; withdrawn while the next version is scored: here
- wrong, expired, revoked tokens: test_auth, test_tokens; those of others, every id: test_matrix
- markup, links, formulas, escapes: test_site, test_formats; through the whole interface: here
- addresses inside, redirects: test_sources; here what is no address at all
- plugins that raise, hang, print, exit: here

Faults
- killed at any moment: test_worker, test_faults; a scoring that aborts: test_scorer
- disk full: test_uploads, test_shell; database locked or gone: here, test_shell, test_health
- an object store that refuses or stops: test_sources; two workers and one job: test_jobs
- lost power: what was not complete is never taken for it: test_storage, test_uploads
- restart with queued jobs: test_faults; a definition changed meanwhile: test_scorer
- a clock put back: test_jobs; a recording gone or another: test_scorer, test_outcomes
- one NaN beside good rows; ties in any order of arrival: test_boards, test_outcomes
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import zarr
from accounts import Person
from fastapi import FastAPI
from processes import until
from queued import install_benchmark, manifest_of, write_store
from sqlalchemy import select
from starlette.testclient import TestClient
from uploading import FILES, SUBMISSIONS, announcement, submit

from leaderboard.database import Database
from leaderboard.serving import start_worker
from leaderboard.settings import API, Settings
from leaderboard.states import State
from leaderboard.storage import Storage
from leaderboard.tables import Entry, Result, Submission
from leaderboard.worker import Worker
from zapeval.benchmarks.catalogue import find_recipe
from zapeval.recordings.stores import open_store
from zapeval.recordings.writer import Layout, write_array

ARRAY = "test_condition_1"
Damage = Callable[[Path], None]


def declares(**values: Any) -> Damage:
    """An array's metadata says this."""

    def damage(store: Path) -> None:
        file = store / ARRAY / "zarr.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return damage


def grid(*shape: int) -> dict[str, Any]:
    return {"name": "regular", "configuration": {"chunk_shape": list(shape)}}


def document(data: bytes) -> Damage:
    """An array's metadata is this."""
    return lambda store: (store / ARRAY / "zarr.json").write_bytes(data) and None


def chunk(make: Callable[[bytes], bytes | None]) -> Damage:
    """The first chunk of an array is made of what it was; None leaves it away."""

    def damage(store: Path) -> None:
        first = min(path for path in (store / ARRAY / "c").rglob("*") if path.is_file())
        made = make(first.read_bytes())
        first.unlink()
        if made is not None:
            first.write_bytes(made)

    return damage


def values(make: Callable[[np.ndarray], np.ndarray]) -> Damage:
    """An array holds other values."""

    def damage(store: Path) -> None:
        from zapeval.recordings.arrays import ZarrArray

        array = ZarrArray(open_store(store / ARRAY))
        made = make(np.array(array.read(*((0, size) for size in array.shape))))
        shutil.rmtree(store / ARRAY)
        layout = Layout(chunk=tuple(min(size, 32) for size in made.shape))
        write_array(open_store(store / ARRAY), made, layout)

    return damage


def put(value: float) -> Damage:
    def made(array: np.ndarray) -> np.ndarray:
        array[0, 3, 7] = value
        return array

    return values(made)


def both(*damages: Damage) -> Damage:
    return lambda store: [damage(store) for damage in damages] and None


def lying(data: bytes) -> bytes:
    """The blosc header says that a gibibyte comes out."""
    return data[:4] + (1 << 30).to_bytes(4, "little") + data[8:]


LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
INNER = {"chunk_shape": [1, 1, 1], "codecs": [LITTLE], "index_codecs": [LITTLE]}
SHARD = {"name": "sharding_indexed", "configuration": INNER}
NESTED = {"name": "sharding_indexed", "configuration": INNER | {"codecs": [SHARD]}}

REFUSED: dict[str, tuple[Damage, str]] = {
    "a shape and chunks of 2^40": (
        declares(shape=[1 << 40, 32, 256], chunk_grid=grid(1 << 40, 1 << 10, 1 << 10)),
        ARRAY,
    ),
    "a negative shape": (declares(shape=[-4, 32, 256]), ARRAY),
    "a shape of fractions": (declares(shape=[4.5, 32, 256]), ARRAY),
    "a shape beyond 64 bits": (declares(shape=[1 << 70, 32, 256]), ARRAY),
    "chunks of no size": (declares(chunk_grid=grid(0, 8, 256)), ARRAY),
    "no axis": (declares(shape=[], chunk_grid=grid()), ARRAY),
    "33 axes": (declares(shape=[1] * 33, chunk_grid=grid(*[1] * 33)), ARRAY),
    "a group for an array": (document(b'{"zarr_format": 3, "node_type": "group"}'), ARRAY),
    "format 2 in a store of format 3": (declares(zarr_format=2), ARRAY),
    "a codec that nobody knows": (
        declares(codecs=[LITTLE, {"name": "no_such_codec"}]),
        "no_such_codec",
    ),
    "shards in shards in shards": (declares(codecs=[NESTED]), "shard"),
    "a chunk that inflates to a gibibyte": (chunk(lying), ARRAY),
    "a chunk of noise": (chunk(lambda _: os.urandom(1000)), ARRAY),
    "complex numbers": (declares(data_type="complex64"), "complex64"),
    "objects": (declares(data_type="object"), ARRAY),
    "whole numbers": (values(lambda array: array.astype(np.int32)), "int32"),
    "big-endian numbers": (
        declares(codecs=[{"name": "bytes", "configuration": {"endian": "big"}}]),
        ARRAY,
    ),
    "a chunk missing behind a fill value of NaN": (
        both(declares(fill_value="NaN"), chunk(lambda _: None)),
        "missing",
    ),
    "a chunk missing behind a fill value of zero": (chunk(lambda _: None), "missing"),
    "metadata of megabytes": (declares(attributes={"x": "y" * (2 << 20)}), ARRAY),
    "metadata nested without end": (document(b'{"a": ' + b"[" * 99_999 + b"]" * 99_999 + b"}"), ""),
    "keys that come twice": (document(b'{"zarr_format": 3, "zarr_format": 2}'), ARRAY),
    "metadata that is no text": (document(b'{"zarr_format": 3, "\xff": 1}'), ARRAY),
    "axes swapped": (values(lambda array: array.swapaxes(1, 2).copy()), "swapped"),
    "31 steps": (values(lambda array: array[:, :31]), "31 steps"),
    "33 steps": (values(lambda array: np.repeat(array, 2, 1)[:, :33]), "33 steps"),
    "255 neurons": (values(lambda array: array[:, :, :255]), "255 neurons"),
    "a window too few": (values(lambda array: array[1:]), "windows"),
    "a window too many": (
        values(lambda array: np.repeat(array, 2, 0)[: len(array) + 1]),
        "windows",
    ),
    "a condition too many": (
        lambda store: shutil.copytree(store / ARRAY, store / "extra") and None,
        "extra: is not part of",
    ),
    "a condition missing": (lambda store: shutil.rmtree(store / ARRAY), "is missing"),
    "NaN in one chunk": (put(np.nan), "NaN"),
    "infinity in one chunk": (put(-np.inf), "inf"),
}


def targets(shift: int) -> Damage:
    """All arrays hold what was to be forecast, or what came a few frames before."""

    def damage(store: Path) -> None:
        recipe = find_recipe("zapbench-smoke")
        recordings = recipe.recordings()
        for series in recipe.resolve(recordings).series:
            activity = recordings[series.recording].activity
            seen = [
                activity.read((o - shift, o - shift + 32), (0, activity.shape[1]))
                for o in series.origins
            ]
            shutil.rmtree(store / series.array)
            write_array(
                open_store(store / series.array), np.stack(seen), Layout(chunk=(32, 8, 256))
            )

    return damage


def format_2(store: Path) -> None:
    held = {path.name: zarr.open_array(store / path.name)[:] for path in arrays_of(store)}
    attributes = json.loads((store / "zarr.json").read_text())["attributes"]
    shutil.rmtree(store)
    group = zarr.open_group(store, mode="w", zarr_format=2, attributes=attributes)
    for name, array in held.items():
        made = group.create_array(
            name, shape=array.shape, dtype=array.dtype, chunks=(32, 8, 256), compressors=None
        )
        made[:] = array


def arrays_of(store: Path) -> list[Path]:
    return sorted(path for path in store.iterdir() if path.is_dir())


ODD: dict[str, tuple[Damage, set[str]]] = {
    "format 2": (format_2, set()),
    "the largest number": (put(float(np.finfo(np.float32).max)), set()),
    "the smallest number": (put(float(np.float32(1e-45))), set()),
    "a constant": (values(lambda array: np.full_like(array, 0.25)), set()),
    "float16": (values(lambda array: array.astype(np.float16)), set()),
    "the targets": (targets(0), {"copy"}),
    "the targets, shifted by one": (targets(1), {"shifted copy"}),
}
"""What is odd and still scores, and what is found in it."""


@pytest.fixture
def backend() -> str:
    """What lies behind the interface is no matter here."""
    return "sqlite"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    changes = {"max_open": 1000, "max_daily": 1000, "lease": 2.0, "requests_per_minute": 0}
    return settings.model_copy(update=changes)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("stores") / "good.zarr")


@pytest.fixture
def worker(settings: Settings, client: TestClient) -> Iterator[Worker]:
    worker = Worker(settings)
    yield worker
    worker.close()


def contents(store: Path) -> dict[str, bytes]:
    files = (path for path in sorted(store.rglob("*")) if path.is_file())
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


def sent(
    client: TestClient, who: Person, store: Path, folder: Path, name: str, damage: Damage
) -> str:
    """Sends a damaged copy of a store as any client does; returns the submission's id."""
    copy = folder / "sent.zarr"
    shutil.copytree(store, copy)
    damage(copy)
    files = contents(copy)
    shutil.rmtree(copy)
    return submit(client, who, files=files, name=name, manifest=manifest_of(store))


def whole(store: Path) -> None:
    """Leaves a store as it is."""


def show(client: TestClient, who: Person, submission: str) -> Any:
    answer = client.get(f"{SUBMISSIONS}/{submission}", headers=who.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def work(worker: Worker) -> None:
    while worker.work():
        pass


@pytest.mark.slow
def test_stores_that_are_wrong_fail_with_reasons_and_good_ones_between_them_score(
    client: TestClient,
    database: Database,
    member: Person,
    other: Person,
    worker: Worker,
    store: Path,
    tmp_path: Path,
) -> None:
    bad = {
        name: sent(client, member, store, tmp_path, f"bad-{i}", damage)
        for i, (name, (damage, _)) in enumerate(REFUSED.items())
    }
    good = [sent(client, other, store, tmp_path, f"good-{i}", whole) for i in range(2)]
    before = psutil.Process().memory_info().rss
    work(worker)
    assert psutil.Process().memory_info().rss - before < 256 << 20
    for name, submission in bad.items():
        found = show(client, member, submission)
        assert (found["state"], found["fault"]) == ("failed", "submission"), (name, found)
        assert REFUSED[name][1] in found["reason"], (name, found["reason"])
        assert str(tmp_path) not in found["reason"] + found["log"], name
    for submission in good:
        assert show(client, other, submission)["state"] == "scored"
    with database.read() as session:
        assert set(session.scalars(select(Result.submission_id))) == set(good)


@pytest.mark.slow
def test_stores_that_are_odd_score_and_what_is_odd_is_found(
    client: TestClient, member: Person, worker: Worker, store: Path, tmp_path: Path
) -> None:
    odd = {
        name: sent(client, member, store, tmp_path, f"odd-{i}", damage)
        for i, (name, (damage, _)) in enumerate(ODD.items())
    }
    work(worker)
    for name, submission in odd.items():
        found = show(client, member, submission)
        assert found["state"] == "scored", (name, found["reason"])
        assert ODD[name][1] <= {one["kind"] for one in found["findings"]}, (name, found["findings"])
        entry = client.get(f"{API}/entries/{found['scored']['entry']}", headers=member.headers)
        assert entry.status_code == 200
        page = client.get(f"/entries/{found['scored']['entry']}", headers=member.headers)
        assert page.status_code == 200


NAMES = (
    *("../zarr.json", "/etc/passwd", "a/../../b", "./zarr.json", "a//zarr.json", "a\\..\\b", "~/0"),
    *("a\0b", "a/c/0\n", "a/\u202e0.0", "con/zarr.json", "NUL.txt/zarr.json", "c:/zarr.json"),
    *("x" * 129 + "/zarr.json", "a/c/" + "/".join(["1"] * 500), "a/c/0/0/0/0/0/0/0/0/0", ""),
    *("a/readme.txt", "run.py", ".hidden/zarr.json", "a/c/0.part", "\ud800/zarr.json"),
)


@pytest.mark.parametrize("name", NAMES)
def test_no_name_leaves_its_store(
    client: TestClient, member: Person, settings: Settings, name: str
) -> None:
    body = announcement(FILES)
    body["files"].append({"path": name, "size": 1, "sha256": "a" * 64})
    headers = member.headers | {"Content-Type": "application/json"}
    answer = client.post(SUBMISSIONS, content=json.dumps(body), headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert client.get(SUBMISSIONS, headers=member.headers).json()["total"] == 0
    assert not any((Storage(settings).root / "incoming").iterdir())


def test_only_plain_files_come_of_what_is_sent(
    client: TestClient, member: Person, settings: Settings
) -> None:
    submission = submit(client, member)
    folder = Storage(settings).store(submission)
    found = list(folder.rglob("*"))
    assert {str(path.relative_to(folder)) for path in found if path.is_file()} == set(FILES)
    for path in found:
        mode = path.lstat().st_mode
        assert stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and not mode & 0o111)


def test_of_parallel_announcements_at_the_limit_one_passes(
    client: TestClient, app: FastAPI, settings: Settings, member: Person
) -> None:
    app.state.settings = settings.model_copy(update={"max_open": 3})
    for number in range(2):
        submit(client, member, name=f"first-{number}")
    barrier = threading.Barrier(8)

    def announce(number: int) -> int:
        barrier.wait()
        body = announcement(name=f"then-{number}")
        return int(client.post(SUBMISSIONS, json=body, headers=member.headers).status_code)

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(announce, range(8))) == [201] + [429] * 7


def test_of_parallel_commits_at_the_limit_one_passes(
    client: TestClient, app: FastAPI, settings: Settings, member: Person
) -> None:
    app.state.settings = settings.model_copy(update={"max_daily": 3})
    for number in range(2):
        submit(client, member, name=f"first-{number}")
    waiting = []
    for number in range(6):
        body = announcement(name=f"then-{number}")
        made = client.post(SUBMISSIONS, json=body, headers=member.headers).json()
        assert made["missing"] == []
        waiting.append(made["id"])
    barrier = threading.Barrier(len(waiting))

    def commit(submission: str) -> Any:
        barrier.wait()
        return client.post(f"{SUBMISSIONS}/{submission}/commit", headers=member.headers)

    with ThreadPoolExecutor(len(waiting)) as pool:
        answers = list(pool.map(commit, waiting))
    assert sorted(one.status_code for one in answers) == [200] + [429] * 5
    refused = next(one for one in answers if one.status_code == 429)
    assert "next slot at" in refused.json()["detail"] and int(refused.headers["retry-after"]) > 0


@pytest.mark.slow
def test_what_is_cancelled_while_it_is_scored_has_no_result(
    client: TestClient,
    settings: Settings,
    database: Database,
    member: Person,
    store: Path,
    tmp_path: Path,
) -> None:
    one = sent(client, member, store, tmp_path, "first", whole)
    process = start_worker(settings)
    try:
        until(lambda: show(client, member, one)["state"] in ("checking", "scoring"))
        answer = client.post(f"{SUBMISSIONS}/{one}/cancel", headers=member.headers)
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled"), answer.text
        two = sent(client, member, store, tmp_path, "second", whole)
        until(lambda: show(client, member, two)["state"] == "scored")
    finally:
        process.terminate()
        process.wait()
    assert show(client, member, one)["state"] == "cancelled"
    with database.read() as session:
        assert session.scalars(select(Result.submission_id)).all() == [two]


@pytest.mark.slow
def test_what_is_withdrawn_while_its_next_version_is_scored_stays_withdrawn(
    client: TestClient,
    database: Database,
    member: Person,
    store: Path,
    tmp_path: Path,
    worker: Worker,
) -> None:
    one = sent(client, member, store, tmp_path, "mine", whole)
    work(worker)
    entry = show(client, member, one)["scored"]["entry"]
    client.post(f"{API}/entries/{entry}/publish", headers=member.headers)
    two = sent(client, member, store, tmp_path, "mine", put(0.5))
    answer = client.post(
        f"{API}/entries/{entry}/withdraw", json={"reason": "it was wrong"}, headers=member.headers
    )
    assert answer.status_code == 200, answer.text
    work(worker)
    found = show(client, member, two)
    assert found["state"] in ("failed", "cancelled", "scored", "withdrawn") and found["reason"]
    with database.read() as session:
        assert session.get_one(Entry, entry).visibility == "withdrawn"
    assert "it was wrong" in client.get(f"/entries/{entry}").text
    board = client.get(f"{API}/boards/zapbench-smoke/4").json()
    assert [row["entry"] for row in board["rows"]] == []


TEXTS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "=HYPERLINK(1)",
    "{{ 7 * 7 }}",
)


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_sent_as_a_name_is_shown_as_text(
    client: TestClient, member: Person, text: str
) -> None:
    sheet = {
        **{"name": text, "authors": [text], "training_data": text, "future_stimulus": False},
        **{"model_per_step": False, "leakage": text},
    }
    answer = client.post(
        SUBMISSIONS, json=announcement(FILES, fact_sheet=sheet), headers=member.headers
    )
    assert answer.status_code in (201, 422), answer.text
    if answer.status_code == 201:
        page = client.get(f"/submissions/{answer.json()['id']}", headers=member.headers)
        assert page.status_code == 200
        assert "<script>alert" not in page.text and "<img src=x" not in page.text
        assert 'href="javascript' not in page.text
    sheet = sheet | {"code": "javascript:alert(1)"}
    answer = client.post(
        SUBMISSIONS, json=announcement(FILES, fact_sheet=sheet), headers=member.headers
    )
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "source",
    [
        *("file:///etc/passwd", "http://169.254.169.254/latest", "https://[::1]/a", "/etc/passwd"),
        *("https://localhost/a", "https://127.0.0.1/a", "gopher://a/b", "gs://", "s3://other/a"),
        *('{"driver": "zarr3", "kvstore": "file:///"}', "zip:file:///a|zarr3:", "memory://a"),
        *("https://data.example.org@127.0.0.1/a", "https://data.example.org:22/a", "", "x" * 5000),
        {"driver": "zarr3", "kvstore": {"driver": "file", "path": "/etc"}},
        7,
    ],
)
def test_what_is_no_allowed_address_is_not_fetched(
    client: TestClient, app: FastAPI, settings: Settings, member: Person, source: Any
) -> None:
    app.state.settings = settings.model_copy(update={"hosts": ("data.example.org",)})
    body = announcement() | {"files": [], "source": source}
    answer = client.post(SUBMISSIONS, json=body, headers=member.headers)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "root:" not in answer.text


PLUGINS = {
    "raising": "raise RuntimeError('no')",
    "exiting": "import sys\nsys.exit(0)",
    "printing": "print('x' * (64 << 20))",
    "dying": "import os\nos._exit(3)",
    "hanging": "import time\ntime.sleep(3600)",
}


@pytest.mark.slow
@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_benchmark_that_breaks_on_import_stops_nobody(
    client: TestClient,
    member: Person,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plugin: str,
) -> None:
    install_benchmark(tmp_path / "package", plugin, PLUGINS[plugin])
    monkeypatch.syspath_prepend(str(tmp_path / "package"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "package"))
    monkeypatch.setattr("leaderboard.known.IMPORT_SECONDS", 5.0)
    for address in (f"{API}/benchmarks", "/benchmarks", f"{API}/boards", f"{API}/forecasters"):
        assert client.get(address).status_code == 200, address
    assert client.get(f"{API}/benchmarks/{plugin}").status_code in (200, 404, 503)
    submit(client, member)


def test_a_database_that_somebody_holds_is_waited_for(
    client: TestClient, database: Database, member: Person
) -> None:
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with database.write():
            held.set()
            let_go.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(submit, client, member)
        # Who reads does not wait.
        assert client.get(f"{API}/boards").status_code == 200
        assert not coming.done()
        let_go.set()
        one = coming.result(60)
    thread.join()
    assert show(client, member, one)["state"] == State.queued
    with database.read() as session:
        assert len(session.scalars(select(Submission)).all()) == 1
