from __future__ import annotations

import json

import pytest

from baselines.worms.scaling import cells
from baselines.worms.scaling.cells import Cell, Result, SourceLoss
from zapeval.errors import InvalidInput


def cell(**changed):
    given = {"model": "worm-lstm", "hidden": 8, "worms": 4, "seed": 1}
    return Cell(**(given | {"configuration": {"rate": 0.001, "batch": 8, **changed}}))


def result():
    loss = SourceLoss(source="", worms=2, loss=0.5, pooled=0.4, naive=0.1, naive_pooled=0.2)
    return Result(
        train_steps=740,
        counted=20,
        live=10,
        losses=(loss,),
        steps=6,
        best_step=3,
        seconds=1.5,
        drawn=("a", "b"),
        curve=((3, 0.7, 0.5), (6, 0.6, 0.55)),
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / cells.FOLDER).mkdir()
    return tmp_path


def test_what_is_written_is_read_and_counts_as_done(folder):
    assert not cells.done(folder, cell())
    cells.write(folder, cell(), result())
    assert cells.done(folder, cell())
    (path,) = (folder / cells.FOLDER).iterdir()
    assert path.name == "worm-lstm-h8-n4-s1.json"
    found = cells.read(path)
    assert (found.result, found.digest) == (result(), cell().digest)
    assert json.loads(path.read_text())["schema"] == "zapeval.scaling-cell/1"


def test_a_cell_of_other_settings_is_refused_by_what_changed(folder):
    cells.write(folder, cell(), result())
    with pytest.raises(InvalidInput, match=r"h8-n4-s1.json: .*\(rate 0.001, now 0.1; clip None,"):
        cells.done(folder, cell(rate=0.1, clip=3))


@pytest.mark.parametrize("torn", ["", "{", '{"schema": "other/1"}', "[]"])
def test_a_file_that_is_no_cell_is_refused(folder, torn):
    cells.write(folder, cell(), result())
    (path,) = (folder / cells.FOLDER).iterdir()
    path.write_text(torn)
    with pytest.raises(InvalidInput, match=r"is no finished cell .*; remove it to train it again"):
        cells.done(folder, cell())


def test_a_number_that_is_not_finite_never_becomes_a_file_that_counts(folder):
    broken = result().model_copy(update={"seconds": float("nan")})
    cells.write(folder, cell(), broken)
    with pytest.raises(InvalidInput, match="is no finished cell"):
        cells.done(folder, cell())
