"""What ``zapeval draw`` writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.conftest import tree
from cli.test_slices import placed, scored  # noqa: F401
from cli.tiny import write_predictions

ENDINGS = (".pdf", ".png", ".vl.json")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def named(name: str) -> list[str]:
    return [name + ending for ending in ENDINGS]


def test_a_brain_is_drawn_for_print_and_web(run, placed, scored, out):  # noqa: F811
    done = run("draw", "brain", scored / "tide.zarr", "-b", placed, "--out", out)
    assert done.code == 0, done.err
    assert files(out) == named("mae_brain")
    assert sorted(done.out.split()) == [str(out / name) for name in files(out)]
    assert (out / "mae_brain.png").read_bytes()[:4] == b"\x89PNG"
    spec = json.loads((out / "mae_brain.vl.json").read_text())
    assert len(spec["datasets"]["xy"]) == 5
    done = run(
        *("draw", "brain", scored / "tide.zarr", "-b", placed, "--out", out, "-q"),
        *("--metric", "correlation", "--step", 2, "--series", "moving"),
    )
    assert (done.code, done.out) == (0, "")
    spec = json.loads((out / "correlation_brain.vl.json").read_text())
    assert spec["title"]["text"] == "tide: moving, step 2"


def test_regions_of_several_maps_stand_side_by_side(run, placed, scored, out):  # noqa: F811
    (scored / "twin.zarr").symlink_to(scored / "tide.zarr")
    maps = (scored / "tide.zarr", scored / "twin.zarr")
    done = run("draw", "regions", *maps, "-b", placed, "--by", "activity:2", "--out", out)
    assert done.code == 0, done.err
    assert files(out) == named("mae_regions")
    rows = json.loads((out / "mae_regions.vl.json").read_text())["datasets"]["rows"]
    assert [row["entry"] for row in rows] == ["tide", "twin"] * 3
    sliced = run("slices", maps[0], "-b", placed, "--by", "activity:2", "--json", "-").out
    first = [row for row in json.loads(sliced)["rows"] if row["series"] == "average"]
    wanted = [row["value"] for row in first if (row["group"], row["metric"]) == ("all", "mae")]
    steps = (1, 2, 4)
    assert rows[-1]["value"] == pytest.approx(sum(wanted[step - 1] for step in steps) / 3)


def test_traces_of_several_forecasters_are_drawn(run, placed, out, tmp_path):  # noqa: F811
    stores = [write_predictions(tmp_path / name) for name in ("one.zarr", "two.zarr")]
    done = run(
        *("draw", "traces", *stores, "-b", placed, "-c", 2, "--out", out),
        *("--series", "moving", "--windows", "0, 16", "--neurons", "n1,3"),
    )
    assert done.code == 0, done.err
    assert files(out) == named("traces")
    spec = json.loads((out / "traces.vl.json").read_text())
    lines = {row["line"] for row in spec["datasets"]["panel 1 1"]}
    assert lines == {"context", "actual", "one, C = 2", "two, C = 2"}


def test_equal_inputs_give_equal_files(run, placed, scored, out):  # noqa: F811
    for name in ("a", "b"):
        run("draw", "brain", scored / "tide.zarr", "-b", placed, "--out", out / name)
    for name in named("mae_brain"):
        assert (out / "a" / name).read_bytes() == (out / "b" / name).read_bytes()


def test_refusals_have_their_exit_codes_and_write_nothing(run, tiny, placed, scored, out):  # noqa: F811
    maps, store = scored / "tide.zarr", scored.parent / "tide.zarr"
    traces = ("traces", store, "-b", placed, "-c", 2)
    cases = [
        (3, ("brain", store, "-b", placed), "holds no maps"),
        (3, ("brain", maps, "-b", tiny), "has no neuron table"),
        (3, ("regions", maps, "-b", tiny), "has no neuron table"),
        (4, ("brain", maps, "-b", placed, "--series", "x"), "known: still, moving"),
        (2, ("brain", maps, "-b", placed, "--step", 9), "expected 1 to 4"),
        (2, ("regions", maps, "-b", placed, "--by", "x"), "expected region"),
        (2, (*traces, "--series", "still", "--windows", "x"), "--windows: 'x' is no number"),
        (2, (*traces, "--series", "still", "--windows", "17"), "windows 0 to 16"),
        (4, (*traces, "--series", "still", "--neurons", "n7"), "neuron 'n7'"),
        (4, (*traces, "--series", "x"), "known: still, moving"),
    ]
    for code, arguments, said in cases:
        done = run("draw", *arguments, "--out", out / "figures")
        assert (done.code, done.out) == (code, ""), (arguments, done.err)
        assert said in done.err
    assert tree(out) == {}


def test_figures_are_not_written_into_what_is_read(run, placed, scored):  # noqa: F811
    before = tree(scored)
    maps = scored / "tide.zarr"
    done = run("draw", "brain", maps, "-b", placed, "--out", maps / "figures")
    assert done.code == 2
    assert "which is read" in done.err
    assert tree(scored) == before
