"""Worms by the commands that a user types: from files to an entry, and how a model generates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.celegans.samples import sample, write_all, write_csv
from submitted import write_sheet

from zapeval.forecasting.predictions import open_predictions


@pytest.fixture
def done(run, tmp_path, monkeypatch):
    """Runs a command that must succeed, in a folder of its own; returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def done(line, *more):
        ended = run(*line.split(), *more, "--quiet")
        assert ended.code == 0, ended.err
        return ended.out

    return done


def test_a_file_of_every_format_becomes_scored_entries(done, tmp_path):
    expected = write_all(tmp_path / "files")
    # Into the data folder, where a board's benchmarks are looked for.
    done("data prepare celegans --from files --licence CC0")
    report = json.loads(Path("data/celegans/report.json").read_text())
    assert len(report["worms"]) == expected
    task = "-b celegans"
    done(f"forecast persistence {task} --out naive.zarr")
    learning = "--set hidden=4 --set epochs=1 --set published=true"
    done(f"train worm-lstm {task} --out trained {learning}")
    done(f"forecast worm-lstm {task} --checkpoint trained/seed-0 --out lstm.zarr")
    cards = {}
    for name in ("naive", "lstm"):
        done(f"score {name}.zarr --json {name}.json")
        cards[name] = json.loads(Path(f"{name}.json").read_text())
        sheet = write_sheet(tmp_path / f"{name}.toml", name=name, seeds=[0] * (name == "lstm"))
        done(f"entries add {name} {name}.json --to entries --fact-sheet", sheet)
    done("entries check entries")
    naive, lstm = cards["naive"], cards["lstm"]
    assert naive["benchmark"]["digest"] == lstm["benchmark"]["digest"]
    sources = {worm["source"] for worm in report["worms"]}
    assert len(sources) == 11
    for card in (naive, lstm):
        assert len(card["series"]) == expected
        rows = {row["series"] for row in card["scores"]}
        assert {f"average:{source}" for source in sources} <= rows
    # A model of a moment's training is far from what a walk that hardly moves needs.
    assert 0 < naive["summary"]["value"] < lstm["summary"]["value"] < 3


def test_the_clamp_is_chosen_when_it_forecasts(done, run, tmp_path):
    write_csv(tmp_path / "files" / "Mine" / "one.csv", sample(0, 1200))
    done("data prepare celegans --from files --out worms --licence CC0")
    task = "-b celegans-generation --data worms"
    done(f"train worm-feedforward {task} --out trained --set hidden=4 --set epochs=1")
    how = f"forecast worm-feedforward {task} --checkpoint trained/seed-0"
    done(f"{how} --out free.zarr")
    done(f"{how} --out held.zarr --set clamp=true")
    free, held = (open_predictions(f"{name}.zarr") for name in ("free", "held"))
    assert free.manifest.forecaster.parameters["clamp"] is False
    assert held.manifest.forecaster.parameters["clamp"] is True
    assert free.manifest.forecaster.checkpoint == held.manifest.forecaster.checkpoint
    one, other = (np.asarray(values(name)) for name in ("free.zarr", "held.zarr"))
    assert one.shape == other.shape == (32, 180, 302)
    assert np.abs(one - other).max() > 0
    refused = run(*how.split(), "--out", "no.zarr", "--set", "epochs=2")
    assert refused.code == 2
    assert "a checkpoint brings its own settings, all but clamp; leave" in refused.err


def values(path):
    """Returns the one array of a store."""
    import zarr

    group = zarr.open_group(path, mode="r")
    (name,) = group.array_keys()
    return group[name][:]
