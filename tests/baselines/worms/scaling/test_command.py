"""``zapeval scale``, as it is typed."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from fewworms import WORMS

from zapeval.benchmarks.celegans.recipes import Celegans

PROGRAM = [sys.executable, "-m", "zapeval", "scale"]
QUICK = ("batch=4", "windows=2", "steps=4", "every=2", "worm-feedforward:hidden=4")


def command(store, out, *more, kind="data", settings=QUICK):
    given = ["-b", "celegans", "--data", str(store), "--out", str(out)]
    return [*PROGRAM, kind, *given, *more, *(w for one in settings for w in ("--set", one))]


def run(store, out, *more, **how):
    return subprocess.run(
        command(store, out, *more, **how), capture_output=True, text=True, check=False
    )


SMALL = ("--models", "worm-linear,worm-feedforward", "--sizes", "2,6", "--seeds", "1")


@pytest.fixture(scope="module")
def killed(store, tmp_path_factory):
    """An experiment that was killed after its first cell, then repeated; and what it had then."""
    out = tmp_path_factory.mktemp("scaled") / "out"
    with subprocess.Popen(command(store, out, *SMALL), stderr=subprocess.PIPE) as process:
        while not (finished := list((out / "cells").glob("*.json"))):
            assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGKILL)
    left = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in finished}
    return out, left, run(store, out, *SMALL)


@pytest.mark.slow
def test_killed_and_repeated_it_does_the_rest_and_nothing_twice(killed):
    out, left, done = killed
    assert done.returncode == 0, done.stderr
    assert f"{len(left)} of 4 cells are finished already" in done.stderr
    assert len(list((out / "cells").glob("*.json"))) == 4
    for path, (time, text) in left.items():
        assert (path.stat().st_mtime_ns, path.read_bytes()) == (time, text)
    assert {path.name for path in out.iterdir()} == {
        *("cells", "figures"),
        *(f"{table}.{ending}" for table in ("cells", "laws") for ending in ("csv", "parquet")),
    }


@pytest.mark.slow
def test_its_tables_say_what_its_cells_do(killed):
    from pyarrow import parquet

    out, _, done = killed
    with (out / "cells.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["source"] for row in rows} == {"", "sines-small", "random-walk-small"}
    assert len(rows) == 4 * 3
    for row in rows:
        if not row["source"]:
            parts = [r for r in rows if r["digest"] == row["digest"] and r["source"]]
            losses = [float(part["loss"]) for part in parts]
            assert float(row["loss"]) == pytest.approx(np.mean(losses))
        assert int(row["train_steps"]) == int(row["worms"]) * 362
    read = parquet.read_table(out / "cells.parquet").to_pylist()
    assert [str(row["loss"]) for row in read] == [row["loss"] for row in rows]
    (linear,) = {(row["counted"], row["live"]) for row in rows if row["model"] == "worm-linear"}
    assert linear == ("183616", "183012")
    said = [line.split()[0] for line in done.stdout.splitlines()]
    assert said == ["model", "worm-feedforward", "worm-linear"]


@pytest.mark.slow
def test_the_loss_of_a_cell_is_the_validation_loss_that_it_was_chosen_by(killed, store):
    out, _, _ = killed
    recordings = Celegans().recordings(str(store))
    benchmark = Celegans().resolve(recordings)
    naive = []
    for series in benchmark.series:
        values = recordings[series.recording].activity.read()[:, np.array(series.mask)]
        parts = [values[at - 1 : at + 180] for at in (series.origins[0], series.origins[-1])]
        naive.append(np.square(np.diff(parts, axis=1)).mean())
    for path in (out / "cells").glob("*.json"):
        found = json.loads(path.read_text())
        result = found["result"]
        assert result["losses"][0]["loss"] == pytest.approx(
            min(loss for _, _, loss in result["curve"]), rel=1e-5
        )
        assert result["losses"][0]["naive"] == pytest.approx(np.mean(naive), rel=1e-5)
        assert len(set(result["drawn"])) == found["worms"]
        assert result["losses"][0]["worms"] == WORMS


@pytest.mark.slow
def test_other_settings_are_refused_before_anything_is_trained(killed, store):
    out, _, _ = killed
    other = run(store, out, *SMALL, settings=(*QUICK, "worm-feedforward:rate=0.1"))
    assert other.returncode == 3
    assert "was made with other settings (learning_rate 0.001, now 0.1)" in other.stderr


@pytest.mark.slow
def test_seeds_are_trained_together_and_models_grow_and_generate(store, tmp_path):
    out = tmp_path / "grown"
    more = ("--models", "worm-linear,worm-ctrnn", "--parameters", "5000", "--seeds", "2")
    done = run(
        store, out, *more, "--together", "2", "--generate", "2", kind="model", settings=QUICK[:4]
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(path.read_text()) for path in (out / "cells").glob("*.json")]
    assert sorted((one["hidden"], one["seed"]) for one in found if one["hidden"]) == [
        (8, 0),
        (8, 1),
    ]
    generations = [one["result"]["generation"] for one in found if one["seed"] == 0]
    assert all(len(one["loss"]) == 180 and one["worms"] == 2 for one in generations)
    assert [one["result"]["generation"] for one in found if one["seed"] == 1] == [None, None]
    images = {path.name for path in (out / "figures").glob("*.png")}
    assert images == {"scaling-model.png", "scaling-generation.png"}


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (("--models", "persistence"), 2, "persistence: is no worm model"),
        (("--models", "worm-none"), 4, "worm-none"),
        (("--sizes", "few"), 2, "--sizes few: expected numbers, such as 10,20,40"),
        (("--sizes", "0"), 2, "expected numbers above 0"),
        (("--sizes", "7"), 3, "7 worms to train on, but there are 6"),
        (("--models", "worm-lstm", "--set", "worm-ctrnn:rate=1"), 2, "is none of --models"),
    ],
)
def test_what_can_not_be_is_said_at_once(store, tmp_path, capsys, monkeypatch, given, code, said):
    from zapeval.cli.app import main

    options = command(store, tmp_path / "out", *given, settings=QUICK[:4])[3:]
    if "--models" not in given:
        options += ["--models", "worm-linear"]
    monkeypatch.setattr(sys, "argv", ["zapeval", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    assert said in capsys.readouterr().err
