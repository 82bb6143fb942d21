"""What ``zapeval score`` prints and writes."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import blake3
import numpy as np
import pytest
import zarr
from cli.conftest import tree
from cli.tiny import (
    ARRAYS,
    HORIZON,
    NEURONS,
    ORIGINS,
    RAW2,
    TOML,
    WINDOWS,
    Layout,
    activity,
    forecasts,
    write_benchmark,
    write_predictions,
)

DIGEST = {"sha256": r"sha256:[0-9a-f]{64}", "blake3": r"blake3:[0-9a-f]{64}"}
STEPS = range(1, HORIZON + 1)
METRICS = ("mae", "mse", "correlation")
ROWS = ("still", "moving", "average", "pooled")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_predictions(tmp_path / "p")


# The scorecard


def check_shape(card: dict[str, Any], *, rows: tuple[str, ...], steps: range) -> None:
    """Fails unless a document has exactly the promised keys, types, rows and order."""
    number, text, optional = (int, float), str, (int, float, type(None))
    assert {key: type(value) for key, value in card.items() if key not in ("sums", "seconds")} == {
        "schema": text,
        "benchmark": dict,
        "data": dict,
        "predictions": dict,
        "forecaster": dict,
        "series": list,
        "missing": text,
        "partial": bool,
        "scored_set": text,
        "scores": list,
        "summary": dict,
        "intervals": dict,
        "notes": list,
        "environment": dict,
    }
    assert card["schema"] == "zapeval.scorecard/1"
    assert isinstance(card["seconds"], number)
    assert {key: type(value) for key, value in card["benchmark"].items()} == {
        "id": text,
        "version": int,
        "protocol": text,
        "context": int,
        "digest": text,
        "sampled": text,
        "summary_steps": list,
    }
    assert card["benchmark"]["protocol"] in ("horizon", "next-step")
    assert re.fullmatch(DIGEST["sha256"], card["benchmark"]["digest"])
    assert re.fullmatch(DIGEST["sha256"], card["scored_set"])
    assert list(card["data"]) == ["digest"]
    assert re.fullmatch(DIGEST["blake3"], card["data"]["digest"])
    assert set(card["predictions"]) == {"digest", "kind"}
    assert re.fullmatch(DIGEST["blake3"], card["predictions"]["digest"])
    assert card["predictions"]["kind"] in ("traces", "volume")
    assert card["missing"] in ("strict", "official")
    for line in card["series"]:
        assert {key: type(value) for key, value in line.items()} == {
            "name": text,
            "group": text,
            "held_out": bool,
            "windows": int,
            "neurons": int,
            "scored": int,
            "missing": int,
        }
    keys = [(score["series"], score["step"], score["metric"]) for score in card["scores"]]
    assert keys == [(row, step, metric) for row in rows for step in steps for metric in METRICS]
    for score in card["scores"]:
        assert list(score) == [
            *("series", "step", "metric", "value", "low", "high", "undefined"),
        ]
        assert type(score["step"]) is int
        assert type(score["undefined"]) is int
        for key in ("value", "low", "high"):
            assert isinstance(score[key], optional)
    assert set(card["summary"]) == {"metric", "value", "low", "high"}
    if card["sums"] is not None:
        assert set(card["sums"]) == {"file", "digest"}


def test_the_scorecard_has_the_promised_shape(run, tiny, store, out):
    assert run("score", store, "-b", tiny, "-c", 2, "--json", out / "card.json").code == 0
    text = (out / "card.json").read_text()
    assert text.isascii()
    card = json.loads(text, parse_constant=pytest.fail)
    check_shape(card, rows=ROWS, steps=STEPS)
    assert card["benchmark"] | {"digest": ""} == {
        "id": "tiny",
        "version": 2,
        "protocol": "horizon",
        "context": 2,
        "digest": "",
        "sampled": "time",
        "summary_steps": [1, 2, 4],
    }
    assert [line["name"] for line in card["series"]] == list(ARRAYS)
    for line in card["series"]:
        assert (line["windows"], line["neurons"]) == (WINDOWS, NEURONS)
        assert (line["scored"], line["missing"]) == (NEURONS, 0)
    assert (card["partial"], card["forecaster"]) == (False, {})


def test_the_numbers_are_those_of_the_definitions(run, tiny, store, out):
    run("score", store, "-b", tiny, "-c", 2, "--json", out / "card.json")
    card = json.loads((out / "card.json").read_text())
    found = {(s["series"], s["step"], s["metric"]): s["value"] for s in card["scores"]}
    traces = activity().astype("f8")
    for name in ARRAYS:
        truth = np.stack([traces[o : o + HORIZON] for o in ORIGINS[name]])
        guess = forecasts(name).astype("f8")
        for step in STEPS:
            p, t = guess[:, step - 1], truth[:, step - 1]
            r = [np.corrcoef(p[:, n], t[:, n])[0, 1] for n in range(NEURONS)]
            assert found[name, step, "mae"] == pytest.approx(np.abs(p - t).mean(), rel=1e-12)
            assert found[name, step, "mse"] == pytest.approx(((p - t) ** 2).mean(), rel=1e-12)
            assert found[name, step, "correlation"] == pytest.approx(np.mean(r), abs=1e-12)
    mean = np.mean([found["average", step, "mae"] for step in (1, 2, 4)])
    assert card["summary"]["metric"] == "mae"
    assert card["summary"]["value"] == pytest.approx(mean, rel=1e-12)
    assert card["summary"]["low"] < mean < card["summary"]["high"]


@pytest.mark.parametrize(
    ("option", "metrics", "reason"),
    [
        ((), {"mae", "mse"}, "correlations have intervals on request"),
        (("--intervals", "errors"), {"mae", "mse"}, "correlations have intervals on request"),
        (("--intervals", "all"), {"mae", "mse", "correlation"}, None),
        (("--intervals", "none"), set(), "left out on request"),
    ],
)
def test_intervals_are_of_the_scores_that_are_asked_for(
    run, tiny, store, out, option, metrics, reason
):
    code = run("score", store, "-b", tiny, "-c", 2, "--json", out / "card.json", *option).code
    assert code == 0
    card = json.loads((out / "card.json").read_text())
    for score in card["scores"]:
        assert (score["low"] is not None) == (score["metric"] in metrics)
        if score["low"] is not None:
            assert score["low"] < score["value"] < score["high"]
    assert (card["summary"]["low"] is None) == (not metrics)
    assert card["intervals"]["reason"] == reason
    assert card["intervals"]["level"] == 0.95
    with np.load(out / "card.windows.npz") as sums:
        assert ("still/influence" in sums) == ("correlation" in metrics)
        assert sums["still/origins"].tolist() == list(ORIGINS["still"])


def test_the_window_sums_lie_beside_the_card_under_their_digest(run, tiny, store, out):
    run("score", store, "-b", tiny, "-c", 2, "--json", out / "card.json")
    card = json.loads((out / "card.json").read_text())
    data = (out / "card.windows.npz").read_bytes()
    digest = f"blake3:{blake3.blake3(data).hexdigest()}"
    assert card["sums"] == {"file": "card.windows.npz", "digest": digest}
    with np.load(out / "card.windows.npz") as sums:
        absolute, counts = sums["still/absolute"], sums["still/counts"]
    assert absolute.shape == (WINDOWS, HORIZON)
    first = next(s for s in card["scores"] if (s["series"], s["metric"]) == ("still", "mae"))
    assert absolute[:, 0].sum() / (WINDOWS * counts[0]) == pytest.approx(first["value"], rel=1e-12)
    assert sorted(path.name for path in out.iterdir()) == ["card.json", "card.windows.npz"]


def without_run(card: dict[str, Any]) -> dict[str, Any]:
    return card | {"seconds": 0, "sums": None}


def test_a_card_on_standard_output_is_json_and_nothing_else(run, tiny, store, out):
    run("score", store, "-b", tiny, "-c", 2, "--json", out / "card.json")
    outcome = run("score", store, "-b", tiny, "-c", 2, "--json", "-")
    assert outcome.code == 0
    card = json.loads(outcome.out)
    assert card["sums"] is None
    assert without_run(card) == without_run(json.loads((out / "card.json").read_text()))
    assert "window sums are not kept with --json -" in outcome.err
    quiet = run("score", store, "-b", tiny, "-c", 2, "--json", "-", "--quiet")
    assert without_run(json.loads(quiet.out)) == without_run(card)
    assert quiet.err == ""


def test_quiet_prints_nothing(run, tiny, store, wanted):
    outcome = run("score", store, "-b", tiny, "-c", 2, "-q", *wanted)
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


@pytest.mark.parametrize("workers", [1, 4])
def test_the_number_of_workers_changes_no_byte(run, tiny, store, out, workers):
    for name, threads in (("one", ()), ("other", ("--workers", workers))):
        files = ("--json", out / name / "a.json", "--csv", out / name / "a.csv")
        assert run("score", store, "-b", tiny, "-c", 2, *threads, *files).code == 0
    for file in ("a.csv", "a.windows.npz"):
        assert (out / "one" / file).read_bytes() == (out / "other" / file).read_bytes()
    one, other = (json.loads((out / name / "a.json").read_text()) for name in ("one", "other"))
    assert one | {"seconds": 0} == other | {"seconds": 0}


def test_next_step_has_one_row_a_metric(run, tmp_path, out):
    text = TOML.replace("context_lengths = [2, 3]", 'protocol = "next-step"')
    tiny = write_benchmark(tmp_path / "benchmark", text)
    store = write_predictions(tmp_path / "p")
    assert run("score", store, "-b", tiny, "--json", out / "card.json").code == 0
    card = json.loads((out / "card.json").read_text())
    check_shape(card, rows=ROWS, steps=range(1, 2))
    assert (card["benchmark"]["protocol"], card["benchmark"]["context"]) == ("next-step", HORIZON)


# Missing neurons


@pytest.fixture
def gappy(tmp_path: Path) -> Path:
    values = forecasts("still")
    values[:, :, 3] = np.nan
    return write_predictions(tmp_path / "p", still=values)


def test_a_missing_neuron_makes_the_card_partial(run, tiny, gappy, out):
    outcome = run("score", gappy, "-b", tiny, "-c", 2, "--json", out / "card.json")
    assert outcome.code == 0
    assert "partial" in outcome.out
    card = json.loads((out / "card.json").read_text())
    check_shape(card, rows=ROWS, steps=STEPS)
    still, moving = card["series"]
    assert (still["scored"], still["missing"], moving["missing"]) == (NEURONS - 1, 1, 0)
    assert (card["missing"], card["partial"]) == ("strict", True)


def test_official_gives_a_missing_neuron_zero_error(run, tiny, gappy, out):
    found = {}
    for mode in ("strict", "official"):
        file = out / f"{mode}.json"
        code = run("score", gappy, "-b", tiny, "-c", 2, "--json", file, "--missing", mode).code
        assert code == 0
        card = json.loads(file.read_text())
        assert card["missing"] == mode
        found[mode] = card["scores"][0]
        assert (found[mode]["series"], found[mode]["metric"]) == ("still", "mae")
    shrunk = found["strict"]["value"] * (NEURONS - 1) / NEURONS
    assert found["official"]["value"] == pytest.approx(shrunk, rel=1e-12)


def test_predictions_without_any_number_get_no_score(run, tiny, tmp_path):
    values = np.full((WINDOWS, HORIZON, NEURONS), np.nan, np.float32)
    store = write_predictions(tmp_path / "p", still=values, moving=values)
    outcome = run("score", store, "-b", tiny, "-c", 2, "--json", "-")
    assert outcome.code == 0
    card = json.loads(outcome.out)
    check_shape(card, rows=ROWS, steps=STEPS)
    assert card["partial"] is True
    assert {score["value"] for score in card["scores"]} == {None}
    assert card["summary"]["value"] is None


# Other outputs


def test_the_csv_holds_every_score_with_its_identity(run, tiny, store, out):
    files = ("--json", out / "card.json", "--csv", out / "scores.csv")
    run("score", store, "-b", tiny, "-c", 3, *files)
    card = json.loads((out / "card.json").read_text())
    with (out / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(card["scores"])
    for row, score in zip(rows, card["scores"], strict=True):
        assert (row["benchmark"], row["context"]) == ("tiny@2", "3")
        assert row["predictions"] == card["predictions"]["digest"]
        assert (row["series"], row["step"]) == (score["series"], str(score["step"]))
        assert float(row["value"]) == score["value"]


def test_maps_hold_each_neurons_scores(run, tiny, gappy, out):
    files = ("--json", out / "card.json", "--maps", out / "maps.zarr")
    assert run("score", gappy, "-b", tiny, "-c", 2, *files).code == 0
    card = json.loads((out / "card.json").read_text())
    maps = zarr.open_group(str(out / "maps.zarr"), mode="r")
    assert maps.attrs["benchmark"] == "tiny@2"
    for name in ARRAYS:
        for metric in METRICS:
            values = maps[f"{name}/{metric}"][:]
            assert values.shape == (HORIZON, NEURONS)
            assert np.isnan(values[:, 3]).all() == (name == "still")
            for step in STEPS:
                score = next(
                    s
                    for s in card["scores"]
                    if (s["series"], s["step"], s["metric"]) == (name, step, metric)
                )
                assert np.nanmean(values[step - 1]) == pytest.approx(score["value"], abs=1e-6)


def test_figures_are_drawn_as_png_and_pdf(run, tiny, store, out):
    assert run("score", store, "-b", tiny, "-c", 2, "--figures", out / "new" / "figures").code == 0
    files = sorted((out / "new" / "figures").iterdir())
    assert {file.suffix for file in files} == {".png", ".pdf"}
    for file in files:
        start = {".png": b"\x89PNG", ".pdf": b"%PDF"}[file.suffix]
        assert file.read_bytes().startswith(start)


def test_what_is_printed_elsewhere_than_on_a_terminal_is_plain(run, tiny, store):
    outcome = run("score", store, "-b", tiny, "-c", 2)
    assert outcome.code == 0
    for text in (outcome.out, outcome.err):
        assert text.replace("\n", "").isprintable()
    header, *rows = [line.split() for line in outcome.out.splitlines() if line[:1] not in "#"]
    assert header == ["series", "windows", "step", "1", "step", "2", "step", "4", "mean"]
    assert [row[0] for row in rows if row] == ["still", "moving", "average"]


def test_a_terminal_gets_a_drawn_table(tiny, store):
    master, slave = os.openpty()
    command = [sys.executable, "-m", "zapeval", "score", store, "-b", tiny, "-c", "2"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        command, stdout=slave, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                data = os.read(master, 4096)
            except OSError:  # Linux says so when the other side is closed
                break
            if not data:
                break
            shown += data
    os.close(master)
    assert process.returncode == 0
    assert "─" in shown.decode()
    assert "average" in shown.decode()


# Where it writes


def test_folders_that_do_not_exist_are_made(run, tiny, store, out):
    new = out / "a" / "b"
    files = ("--json", new / "card.json", "--csv", new / "c.csv", "--maps", new / "m" / "maps.zarr")
    assert run("score", store, "-b", tiny, "-c", 2, *files).code == 0
    assert sorted(p.name for p in new.iterdir()) == ["c.csv", "card.json", "card.windows.npz", "m"]
    assert [p.name for p in (new / "m").iterdir()] == ["maps.zarr"]


def test_folders_that_were_made_for_nothing_are_removed(run, tiny, store, out):
    (store / "still/0.0.0").unlink()
    new = out / "a" / "b"
    files = ("--json", new / "card.json", "--csv", new / "c.csv", "--maps", new / "m" / "maps.zarr")
    assert run("score", store, "-b", tiny, "-c", 2, *files).code == 3
    assert tree(out) == {}


def test_a_card_is_replaced_and_maps_are_not(run, tiny, store, out, wanted):
    assert run("score", store, "-b", tiny, "-c", 2, *wanted).code == 0
    first = (out / "card.json").read_text()
    again = run("score", store, "-b", tiny, "-c", 3, *wanted[:4])
    assert again.code == 0
    assert json.loads((out / "card.json").read_text())["benchmark"]["context"] == 3
    assert json.loads(first)["benchmark"]["context"] == 2
    before = tree(out)
    outcome = run("score", store, "-b", tiny, "-c", 2, *wanted)
    assert outcome.code == 3
    assert f"{out}/maps.zarr: exists; remove it or choose another name" in outcome.err
    assert tree(out) == before


@pytest.mark.parametrize(
    ("option", "place", "code", "says"),
    [
        ("--json", "folder", 2, "folder: is a folder, expected a file"),
        ("--json", "file/card.json", 3, "file/card.json: can't be written: .*/file is a file"),
        ("--json", "gs://bucket/card.json", 2, "is an address; give a local path"),
        ("--json", "", 2, "is a folder, expected a file"),
        ("--json", "x" * 300, 3, "could not be written: File name too long|can't be written"),
        ("--csv", "folder", 2, "folder: is a folder, expected a file"),
        ("--csv", "scores.json", 2, "expected a name that ends in .csv"),
        ("--csv", "file/a/scores.csv", 3, "file/a/scores.csv: can't be written: .*/file is a file"),
        ("--csv", "https://place/scores.csv", 2, "is an address"),
        ("--maps", "file", 3, "file: exists; remove it or choose another name"),
        ("--maps", "file/maps.zarr", 3, "can't be written: .*/file is a file"),
        ("--maps", "s3://bucket/maps.zarr", 2, "is an address"),
        ("--maps", "dangling", 3, "dangling: exists; remove it or choose another name"),
        ("--figures", "file", 2, "file: is a file, expected a folder"),
        ("--figures", "file/figures", 3, "can't be written: .*/file is a file"),
    ],
)
def test_a_place_that_cannot_be_written_to_is_named(
    run, tiny, store, out, monkeypatch, option, place, code, says
):
    (out / "folder").mkdir()
    (out / "file").write_text("kept")
    (out / "dangling").symlink_to(out / "nowhere")
    monkeypatch.chdir(out)
    before = tree(out)
    outcome = run("score", store, "-b", tiny, "-c", 2, option, place)
    assert outcome.code == code, outcome
    assert re.search(says, outcome.err), outcome.err
    assert outcome.err.startswith("error: ")
    assert tree(out) == before


@pytest.mark.parametrize(
    ("option", "place"), [("--json", "x"), ("--csv", "file/x.csv"), ("--figures", "file")]
)
def test_a_place_is_looked_at_before_the_predictions(run, out, tmp_path, option, place):
    (out / "file").write_text("")
    (out / "x").mkdir()
    outcome = run("score", tmp_path / "nowhere", option, out / place)
    assert "nowhere" not in outcome.err
    assert outcome.code in (2, 3)


@contextmanager
def full_disk(folder: Path, room: int) -> Iterator[None]:
    """A disk of 1 MiB with little room left, in bytes."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        (folder / "filler").write_bytes(bytes((1 << 20) - room))
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    ("option", "name", "room"),
    [
        ("--json", "card.json", 8192),
        ("--json", "card.json", 4096),
        ("--csv", "scores.csv", 0),
        ("--maps", "maps.zarr", 16384),
        ("--figures", "figures", 16384),
    ],
)
def test_a_full_disk_leaves_nothing_half_written(run, tiny, store, tmp_path, option, name, room):
    disk = tmp_path / "disk"
    with full_disk(disk, room):
        outcome = run("score", store, "-b", tiny, "-c", 2, option, disk / name)
        assert outcome.code == 3, outcome
        assert re.search("the disk is full|No space left on device", outcome.err), outcome.err
        assert [path.name for path in disk.iterdir()] == ["filler"]
    # A disk that is full when the end is written costs a file, not the result.
    assert ("average" in outcome.out) == (option != "--maps")


def test_a_full_disk_keeps_the_card_that_was_there(run, tiny, store, tmp_path):
    disk = tmp_path / "disk"
    with full_disk(disk, 1 << 16):
        assert run("score", store, "-b", tiny, "-c", 2, "--json", disk / "card.json").code == 0
        before = {path.name: path.read_bytes() for path in disk.iterdir()}
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        (disk / "more").write_bytes(bytes(free - 4096))
        outcome = run("score", store, "-b", tiny, "-c", 3, "--json", disk / "card.json")
        assert outcome.code == 3
        assert "the disk is full" in outcome.err
        (disk / "more").unlink()
        assert {path.name: path.read_bytes() for path in disk.iterdir()} == before


def test_an_address_with_a_slash_at_its_end_is_the_same_store(run, tiny, store):
    plain = run("score", store, "-b", tiny, "-c", 2, "--json", "-")
    for uri in (f"{store}/", f"file://{store}", f"file://{store}/"):
        other = run("score", uri, "-b", tiny, "-c", 2, "--json", "-")
        assert without_run(json.loads(other.out)) == without_run(json.loads(plain.out))


def test_any_chunks_give_the_same_scores(run, tiny, tmp_path):
    texts = set()
    for name, chunk in (("a", (17, 4, 5)), ("b", (1, 1, 1)), ("c", (5, 3, 2)), ("d", (99, 9, 9))):
        store = write_predictions(tmp_path / name, Layout(chunk=chunk))
        card = json.loads(run("score", store, "-b", tiny, "-c", 2, "--json", "-").out)
        texts.add((card["predictions"]["digest"], card["data"]["digest"]))
        values = [round(s["value"], 12) for s in card["scores"]]
        texts.add(tuple(values))
    assert len(texts) == 2
    assert RAW2.chunk not in ((17, 4, 5), (1, 1, 1))


@pytest.mark.parametrize("option", ["--json", "--csv", "--maps", "--figures"])
def test_nothing_is_written_into_the_store_that_is_scored(run, tiny, store, option):
    before = sorted(path.relative_to(store) for path in store.rglob("*"))
    outcome = run("score", store, "-b", tiny, "-c", 2, option, store / "a.csv")
    assert outcome.code == 2
    assert "which is read; choose another place" in outcome.err
    assert sorted(path.relative_to(store) for path in store.rglob("*")) == before


def test_a_link_or_a_pipe_is_not_replaced_by_an_output(run, tiny, store, tmp_path):
    (tmp_path / "real.json").write_text("mine")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("link.json", "pipe.json"):
        outcome = run("score", store, "-b", tiny, "-c", 2, "--json", tmp_path / name)
        assert outcome.code == 2
        assert "is a link or a device" in outcome.err
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "pipe.json").is_fifo()


def test_standard_output_that_is_full_is_said(store, tiny):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "zapeval", "score", store, "-b", tiny, "-c", "2"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 3
    assert "standard output could not be written: No space left" in done.stderr
    assert "Traceback" not in done.stderr
