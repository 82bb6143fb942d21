import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from queued import install_benchmark, manifest_of, queue, user_of, write_store
from sqlalchemy import select
from typer.testing import CliRunner

from leaderboard.database import Database
from leaderboard.keys import public_key
from leaderboard.settings import Settings
from leaderboard.states import State
from leaderboard.storage import Storage
from leaderboard.tables import Board, Job, Result, Submission
from leaderboard.worker import Worker
from submissions.receipt import verify
from zapeval.benchmarks.catalogue import find_recipe
from zapeval.cli.app import app
from zapeval.recordings.stores import open_store
from zapeval.recordings.writer import Layout, write_array

ARRAY = "test_condition_1"
Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good forecasts."""
    return write_store(tmp_path_factory.mktemp("stores") / "mine.zarr", seed=1)


@pytest.fixture
def worker(settings: Settings, database: Database) -> Iterator[Worker]:
    made = Worker(settings)
    yield made
    made.close()


def work_once(settings: Settings) -> None:
    """Does one job with a worker of other settings."""
    worker = Worker(settings)
    worker.work()
    worker.close()


def work(worker: Worker) -> None:
    """Does all that is queued."""
    while worker.work():
        pass


def found(database: Database, submission: str) -> Submission:
    with database.read() as session:
        return session.get_one(Submission, submission)


def result_of(database: Database, submission: str) -> Result | None:
    with database.read() as session:
        query = select(Result).where(Result.submission_id == submission)
        rows = session.scalars(query).all()
        assert len(rows) <= 1
        if not rows:
            return None
        # Columns that are read when they are asked for.
        _ = rows[0].card, rows[0].sums, rows[0].maps, rows[0].entry.slug
        return rows[0]


def changed(folder: Path, **values: object) -> None:
    """Changes keys of an array's metadata."""
    file = folder / ARRAY / "zarr.json"
    document = json.loads(file.read_text())
    file.write_text(json.dumps(document | values))


def chunks(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / ARRAY / "c").rglob("*") if path.is_file())


def rewritten(folder: Path, make: Callable[[np.ndarray], np.ndarray]) -> None:
    """Writes an array of the store anew."""
    values = open_store_array(folder)
    shutil.rmtree(folder / ARRAY)
    made = make(values)
    layout = Layout(chunk=tuple(min(n, 32) for n in made.shape))
    write_array(open_store(folder / ARRAY), made, layout)


def open_store_array(folder: Path) -> np.ndarray:
    from zapeval.recordings.arrays import ZarrArray

    array = ZarrArray(open_store(folder / ARRAY))
    return np.asarray(array.read(*((0, n) for n in array.shape)))


def test_a_submission_scores_as_it_does_at_home(
    database: Database, settings: Settings, worker: Worker, store: Path, tmp_path: Path
) -> None:
    one = queue(database, settings, user_of(database, "ann"), store)
    work(worker)
    submission, result = found(database, one), result_of(database, one)
    assert (submission.state, submission.reason, submission.fault) == (State.scored, "", "")
    states = [line.split("Z ")[1] for line in submission.log.splitlines()]
    assert states == ["queued", "checking", "scoring", "scored"]
    assert result is not None and submission.entry_id == result.entry_id

    home = tmp_path / "scorecard.json"
    done = CliRunner().invoke(app, ["score", str(store), "--json", str(home), "--quiet"])
    assert done.exit_code == 0, done.output
    here, there = json.loads(result.card), json.loads(home.read_text())
    assert here["scores"] == there["scores"]
    assert {key for key in there if here[key] != there[key]} <= {"seconds"}
    assert result.sums == home.with_suffix(".windows.npz").read_bytes()
    assert (result.summary, result.low, result.high) == (
        there["summary"]["value"],
        there["summary"]["low"],
        there["summary"]["high"],
    )

    # The receipt is of the very bytes that are kept.
    (tmp_path / "kept.json").write_text(result.card)
    (tmp_path / "receipt.json").write_text(json.dumps(result.receipt))
    verify(tmp_path / "receipt.json", tmp_path / "kept.json", public_key(settings))
    assert settings.data_dir.joinpath("keys/receipts.pem").stat().st_mode & 0o777 == 0o600

    maps = result.maps
    assert maps is not None and len(maps["marks"]["x"]) == maps["neurons"] == 256
    assert sum(maps["histogram"]["counts"]) == 256
    assert sum(region["neurons"] for region in maps["regions"]) <= 256
    with database.read() as session:
        (board,) = session.scalars(select(Board)).all()
    assert board.main and board.ranked == board.revision
    # Private until its owner publishes it.
    assert board.standings is not None and board.standings["rows"] == []
    assert list((Storage(settings).root / "scratch").iterdir()) == []


def missing_chunk(folder: Path) -> None:
    chunks(folder)[0].unlink()


def linked_chunk(folder: Path) -> None:
    chunk = chunks(folder)[0]
    chunk.unlink()
    chunk.symlink_to("/etc/passwd")


def folder_for_a_chunk(folder: Path) -> None:
    chunk = chunks(folder)[0]
    chunk.unlink()
    chunk.mkdir()


def garbage_chunk(folder: Path) -> None:
    chunks(folder)[0].write_bytes(os.urandom(1000))


def inflating_chunk(folder: Path) -> None:
    # A blosc header that declares 1 GiB.
    data = bytearray(chunks(folder)[0].read_bytes())
    data[4:8] = (1 << 30).to_bytes(4, "little")
    chunks(folder)[0].write_bytes(bytes(data))


def aborting(folder: Path) -> None:
    chunk = {"name": "regular", "configuration": {"chunk_shape": [1 << 40, 1 << 10, 1 << 10]}}
    changed(folder, shape=[1 << 40, 32, 256], chunk_grid=chunk)


def huge_metadata(folder: Path) -> None:
    changed(folder, attributes={"x": "y" * (64 << 20)})


def deep_metadata(folder: Path) -> None:
    text = "[" * 100_000 + "]" * 100_000
    (folder / ARRAY / "zarr.json").write_text(f'{{"zarr_format": 3, "a": {text}}}')


def not_utf8(folder: Path) -> None:
    (folder / ARRAY / "zarr.json").write_bytes(b'{"zarr_format": 3, "\xff": 1}')


def complex_numbers(folder: Path) -> None:
    changed(folder, data_type="complex64")


def odd_codec(folder: Path) -> None:
    changed(folder, codecs=[{"name": "bytes"}, {"name": "no_such_codec"}])


def one_nan(folder: Path) -> None:
    def spoilt(values: np.ndarray) -> np.ndarray:
        values = values.copy()
        values[0, 3, 7] = np.nan
        return values

    rewritten(folder, spoilt)


def swapped(folder: Path) -> None:
    rewritten(folder, lambda values: np.ascontiguousarray(values.swapaxes(1, 2)))


def short_horizon(folder: Path) -> None:
    rewritten(folder, lambda values: values[:, :31])


def few_neurons(folder: Path) -> None:
    rewritten(folder, lambda values: values[:, :, :255])


def no_series(folder: Path) -> None:
    shutil.rmtree(folder / ARRAY)


def other_manifest(folder: Path) -> None:
    document = json.loads((folder / "zarr.json").read_text())
    document["attributes"]["forecaster"]["name"] = "another"
    (folder / "zarr.json").write_text(json.dumps(document))


BAD: dict[Damage, str] = {
    missing_chunk: "chunk is missing",
    linked_chunk: "symbolic link",
    folder_for_a_chunk: "is a folder",
    garbage_chunk: ARRAY,
    inflating_chunk: ARRAY,
    aborting: ARRAY,
    huge_metadata: "expected at most",
    deep_metadata: "nested",
    not_utf8: "JSON",
    complex_numbers: "complex64",
    odd_codec: "no_such_codec",
    one_nan: "NaN",
    swapped: "axes are swapped",
    short_horizon: "31 steps, expected 32",
    few_neurons: "255 neurons, expected 256",
    no_series: "is missing",
    other_manifest: "manifest is not the one that was announced",
}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_bad_stores_fail_with_reasons_and_good_ones_between_them_score(
    database: Database, settings: Settings, worker: Worker, store: Path
) -> None:
    bad = {
        queue(database, settings, user_of(database, damage.__name__), store, damage=damage): damage
        for damage in BAD
    }
    good = [
        queue(database, settings, user_of(database, f"good{i}"), store, name=f"good{i}")
        for i in range(2)
    ]
    before = psutil.Process().memory_info().rss
    work(worker)
    assert psutil.Process().memory_info().rss - before < 128 << 20
    for one, damage in bad.items():
        submission = found(database, one)
        where = f"{damage.__name__}: {submission.reason}"
        assert (submission.state, submission.fault) == (State.failed, "submission"), where
        assert BAD[damage] in submission.reason, where
        assert submission.counted is not None
        # Nothing of the machine is told.
        assert str(settings.data_dir) not in submission.reason + submission.log, where
        assert "/tmp" not in submission.reason, where
        assert result_of(database, one) is None
    for one in good:
        assert found(database, one).state == State.scored


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_odd_but_honest_stores_score(
    database: Database, settings: Settings, worker: Worker, tmp_path: Path, store: Path
) -> None:
    half = write_store(tmp_path / "half.zarr", dtype="float16", name="half")
    constant = write_store(tmp_path / "constant.zarr", name="constant")
    for path in constant.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
            write_constant(constant, path.name)
    user = user_of(database, "ann")
    ids = [queue(database, settings, user, one, name=one.stem) for one in (half, constant)]
    bare = queue(database, settings, user, store, name="bare", damage=without_manifest)
    work(worker)
    for one in (*ids, bare):
        assert found(database, one).state == State.scored, found(database, one).reason
    result = result_of(database, ids[1])
    assert result is not None
    scores = [s for s in json.loads(result.card)["scores"] if s["metric"] == "correlation"]
    assert all(score["value"] is None for score in scores)
    named = result_of(database, bare)
    assert named is not None and json.loads(named.card)["forecaster"]["name"] == "mine"


def write_constant(folder: Path, array: str) -> None:
    recipe = find_recipe("zapbench-smoke")
    task = recipe.resolve(recipe.recordings())
    (series,) = [one for one in task.series if one.array == array]
    values = np.full((series.windows, 32, 256), 0.25, np.float32)
    write_array(open_store(folder / array), values, Layout(chunk=(32, 8, 256)))


def without_manifest(folder: Path) -> None:
    (folder / "zarr.json").unlink()


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_copy_of_the_targets_scores_and_is_found(
    database: Database, settings: Settings, worker: Worker, tmp_path: Path
) -> None:
    copy = write_store(tmp_path / "copy.zarr", name="copy")
    recipe = find_recipe("zapbench-smoke")
    recordings = recipe.recordings()
    for series in recipe.resolve(recordings).series:
        activity = recordings[series.recording].activity
        rows = [activity.read((o, o + 32), (0, activity.shape[1])) for o in series.origins]
        shutil.rmtree(copy / series.array)
        write_array(open_store(copy / series.array), np.stack(rows), Layout(chunk=(32, 8, 256)))
    one = queue(database, settings, user_of(database, "ann"), copy)
    work(worker)
    result = result_of(database, one)
    assert result is not None and result.summary == 0
    assert {"copy", "noise of the targets"} <= {finding["kind"] for finding in result.findings}
    assert all(finding["severity"] == "high" for finding in result.findings[:1])


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_too_little_memory_or_time_is_said_so(
    database: Database, settings: Settings, store: Path
) -> None:
    user = user_of(database, "ann")
    small = settings.model_copy(update={"memory": 16 << 20})
    one = queue(database, settings, user, store)
    work_once(small)
    submission = found(database, one)
    assert (submission.state, submission.fault) == (State.failed, "submission")
    assert "16 MiB of memory" in submission.reason
    quick = settings.model_copy(update={"wall": 0.05})
    two = queue(database, settings, user, store)
    work_once(quick)
    submission = found(database, two)
    assert (submission.state, submission.fault) == (State.failed, "submission")
    assert "was not scored within" in submission.reason


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_benchmark_that_changed_while_it_was_queued_costs_nothing(
    database: Database, settings: Settings, worker: Worker, store: Path
) -> None:
    manifest = manifest_of(store)
    manifest["benchmark"]["digest"] = "sha256:" + "0" * 64
    one = queue(database, settings, user_of(database, "ann"), store, manifest=manifest)
    for _ in range(3):
        with database.write() as session:
            for job in session.scalars(select(Job)):
                job.after = job.created
        worker.work()
    submission = found(database, one)
    assert (submission.state, submission.fault) == (State.failed, "platform")
    assert "forecast it again" in submission.reason
    assert submission.counted is None


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_recording_that_is_not_there_is_the_platforms_fault(
    database: Database, settings: Settings, store: Path, tmp_path: Path
) -> None:
    lost = settings.model_copy(
        update={"recordings": {"zapbench-smoke": str(tmp_path / "none")}, "attempts": 1}
    )
    one = queue(database, settings, user_of(database, "ann"), store)
    work_once(lost)
    submission = found(database, one)
    assert (submission.state, submission.fault) == (State.failed, "platform")
    assert submission.counted is None
    assert str(tmp_path) not in submission.reason + submission.log


ABORTS = """
import os
from pathlib import Path
from zapeval.benchmarks.synthetic import _Generated

class Benchmark(_Generated):
    id = "aborting"
    title = "a benchmark whose scoring aborts, as a storage library does on hostile chunks"
    every = 26

    def resolve(self, recordings):
        if Path("/proc/self/oom_score_adj").read_text().strip() == "1000":
            os.abort()
        return super().resolve(recordings)
"""


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_scoring_that_aborts_is_tried_again_and_then_fails_alone(
    database: Database,
    settings: Settings,
    worker: Worker,
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install_benchmark(tmp_path / "package", "aborting", ABORTS)
    monkeypatch.syspath_prepend(str(tmp_path / "package"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "package"))
    bad = write_store(tmp_path / "bad.zarr", benchmark="aborting")
    one = queue(database, settings, user_of(database, "ann"), bad, name="bad")
    two = queue(database, settings, user_of(database, "bob"), store, name="good")
    work(worker)
    assert (found(database, one).state, found(database, two).state) == ("queued", "scored")
    with database.write() as session:
        for job in session.scalars(select(Job)):
            job.after = job.created
    work(worker)
    submission = found(database, one)
    assert (submission.state, submission.fault) == (State.failed, "submission")
    assert "SIGABRT" in submission.reason
