"""Worms on the command line: prepared, verified, fetched, forecast and scored."""

from __future__ import annotations

import json

import pytest
from benchmarks.celegans import samples
from benchmarks.celegans.samples import sample
from benchmarks.celegans.test_hub import served  # noqa: F401

from zapeval.benchmarks.celegans.names import NAMES as SLOT_NAMES


@pytest.fixture
def files(tmp_path):
    """A folder of two sources, a worm that cannot be used, and a file of no worm."""
    folder = tmp_path / "files"
    samples.write_struct(folder / "n2_let.mat", [sample(0), sample(1)], key="n2_let")
    samples.write_csv(folder / "mine" / "a.csv", sample(2, 1000, ["AVAL", "AVALL"]))
    samples.write_csv(folder / "mine" / "b.csv", sample(3, 1000, ["nobody"]))
    (folder / "README.md").write_text("hello")
    return folder


def test_worms_are_prepared_verified_and_scored(run, files, tmp_path):
    prepared = run("data", "prepare", "celegans", "--from", files)
    assert (prepared.code, prepared.err) == (0, "")
    lines = prepared.out.splitlines()
    assert lines[0].split() == [
        *("source", "worms", "left", "out", "labelled", "fewest", "most", "recorded"),
        *("seconds", "frames"),
    ]
    assert lines[1].split()[:3] == ["Nichols2017", "2", "0"]
    assert lines[2].split()[:6] == ["mine", "1", "1", "1.0", "1", "1"]
    assert "left out: mine-b: has no labelled neuron; column 0: label 'nobody'" in prepared.out
    assert "left out: README.md: is no recording that is known" in prepared.out
    assert "note: mine-a: column 1: label 'AVALL' is no canonical name" in prepared.out
    folder = tmp_path / "data" / "celegans"
    assert f"{folder}: worms prepared: 3" in prepared.out
    assert run("data", "where", "celegans").out == f"{folder}\n"
    verified = run("data", "verify", "celegans")
    assert (verified.code, verified.out) == (0, f"{folder}: every file is as it was made\n")
    store = tmp_path / "p.zarr"
    assert run("forecast", "persistence", "-b", "celegans", "--out", store).code == 0
    assert run("score", store, "--json", tmp_path / "card.json").code == 0
    card = json.loads((tmp_path / "card.json").read_text())
    assert [line["group"] for line in card["series"]] == ["Nichols2017", "Nichols2017", "mine"]
    assert {score["metric"] for score in card["scores"]} == {
        *("mae", "mse", "correlation", "mse_pooled")
    }


def test_a_changed_worm_fails_to_verify(run, files, tmp_path):
    run("data", "prepare", "celegans", "--from", files, "--quiet")
    chunk = tmp_path / "data" / "celegans" / "mine-a" / "traces" / "c" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-3])
    broken = run("data", "verify", "celegans")
    assert (broken.code, "mine-a" in broken.err) == (3, True)


def test_worms_go_where_out_says_with_the_scale_asked_for(run, files, tmp_path):
    out = tmp_path / "worms"
    done = run(
        *("data", "prepare", "celegans", "--from", files, "--out", out),
        *("--z-score", "train-half", "--licence", "CC0", "-q"),
    )
    assert (done.code, done.out, done.err) == (0, "", "")
    attributes = json.loads((out / "mine-a" / "zarr.json").read_text())["attributes"]
    assert attributes["provenance"]["scale"] == "train-half"
    assert attributes["provenance"]["licence"] == "CC0"
    assert run("benchmarks", "show", "celegans-three-way", "--data", out).code == 0
    again = run("data", "prepare", "celegans", "--from", files, "--out", out)
    assert (again.code, "exists; remove it" in again.err) == (3, True)


def test_what_cannot_be_prepared_is_said(run, files, tmp_path):
    other = run("data", "prepare", "zapbench", "--from", files)
    assert (other.code, "need no preparing" in other.err) == (5, True)
    nowhere = run("data", "prepare", "celegans", "--from", tmp_path / "nowhere")
    assert (nowhere.code, "is no folder" in nowhere.err) == (4, True)
    odd = run("data", "prepare", "celegans", "--from", files, "--z-score", "half")
    assert (odd.code, "expected one of recording, train-half" in odd.err) == (2, True)
    none = run("data", "verify", "celegans")
    assert (none.code, "prepare it with `zapeval data prepare" in none.err) == (4, True)


def test_the_export_is_fetched_verified_and_prepared(run, served, tmp_path):  # noqa: F811
    worms = {("Lin2023", "worm0"): sample(0, 1000, ["AVAL"])}
    whole = samples.write_export(tmp_path / "e.parquet", worms, slots=SLOT_NAMES)
    served.files = {"data/train-0.parquet": whole.read_bytes()}
    fetched = run("data", "fetch", "celegans", "--from", served.address)
    folder = tmp_path / "data" / "celegans-export"
    assert fetched.code == 0
    assert f"{folder}: 1 files of revision aaaaaaaaaaaa, 1 of them fetched now" in fetched.out
    assert f"zapeval data prepare celegans --from {folder}" in fetched.err
    assert run("data", "verify", "celegans").code == 0
    prepared = run("data", "prepare", "celegans", "--from", folder)
    assert "Lin2023" in prepared.out
    assert "left out" not in prepared.out.partition("\n")[2]
    (folder / "data" / "train-0.parquet").write_bytes(b"x")
    assert run("data", "verify", "celegans").code == 3
