from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import CONTEXT, StoreLayout, horizon_case, worms_case

from zapeval.errors import InvalidInput, NotFound, UsageError
from zapeval.scoring.score import plan, score
from zapeval.scoring.scores import scores_of
from zapeval.scoring.tally import Tally, read_window_sums, write_window_sums
from zapeval.scoring.task import run_task

CASES = {"fish": horizon_case, "worms": worms_case}


def tallied(case, folder):
    return case.score(folder)[1]


@pytest.mark.parametrize("name", CASES)
def test_parts_scored_apart_and_merged_are_the_whole(tmp_path, name):
    case = CASES[name]()
    predictions = case.predictions(tmp_path / "predictions", StoreLayout(chunk=(4, 2, 3)))
    recordings = case.recordings(tmp_path)
    card, whole = score(predictions, case.benchmark, recordings, context=CONTEXT, intervals="none")
    tasks = plan(predictions, case.benchmark, recordings, missing="strict", digest=True, maps=None)
    first = Tally(cell for task in tasks[::2] for cell in run_task(task))
    second = Tally(cell for task in tasks[1::2] for cell in run_task(task))
    assert len(first) + len(second) == len(whole)
    for merged in (first + second, second + first, Tally() + second + first):
        assert scores_of(merged, case.benchmark) == card.scores


def test_merging_what_overlaps_is_refused(tmp_path):
    whole = tallied(horizon_case(), tmp_path)
    part = Tally([whole.cell("condition 1", 3)])
    with pytest.raises(UsageError, match="condition 1 step 3 stands in both"):
        whole + part


def test_merging_leaves_the_parts_as_they_were(tmp_path):
    cells = list(tallied(horizon_case(), tmp_path))
    first, second = Tally(cells[:3]), Tally(cells[3:])
    merged = first + second
    assert (len(first), len(second), len(merged)) == (3, len(cells) - 3, len(cells))


def test_unknown_cell_is_named(tmp_path):
    with pytest.raises(NotFound, match="no condition 1 at step 6"):
        tallied(horizon_case(), tmp_path).cell("condition 1", 6)


def test_incomplete_tally_gives_no_scores(tmp_path):
    case = horizon_case()
    cells = list(tallied(case, tmp_path))
    with pytest.raises(NotFound):
        scores_of(Tally(cells[:-1]), case.benchmark)


def test_cells_of_a_series_come_by_ascending_step(tmp_path):
    cells = list(tallied(horizon_case(), tmp_path))
    assert [cell.step for cell in Tally(cells[::-1]).of_series("condition 0")] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", CASES)
def test_window_sums_come_back_and_give_the_scores(tmp_path, name):
    case = CASES[name]()
    card, tally = case.score(tmp_path)
    path = tmp_path / "a.windows.npz"
    sums = read_window_sums(path, write_window_sums(tally, case.benchmark, path))
    assert not list(tmp_path.glob("*.part"))
    for series in case.benchmark.series:
        for metric, statistic in (("mae", "absolute"), ("mse", "squared")):
            values = sums[f"{series.name}/{statistic}"]
            counts = sums[f"{series.name}/counts"]
            assert values.dtype == np.float64
            assert values.shape == (series.windows, case.benchmark.steps)
            assert counts.dtype == np.int64
            for step in range(1, case.benchmark.steps + 1):
                mean = np.mean(values[:, step - 1] / counts[step - 1])
                expected = card.value(series.name, step, metric)
                assert mean == pytest.approx(expected, rel=1e-12)
        assert sums[f"{series.name}/origins"].tolist() == list(series.origins)
    assert len(sums) == 4 * len(case.benchmark.series)


def test_equal_window_sums_are_equal_bytes(tmp_path):
    case = horizon_case()
    cells = list(tallied(case, tmp_path))
    again = tallied(case, tmp_path)
    orders = (Tally(cells), again, Tally(cells[::-1]), Tally(cells[7:]) + Tally(cells[:7]))
    digests = {
        write_window_sums(t, case.benchmark, tmp_path / f"{i}.npz") for i, t in enumerate(orders)
    }
    assert len(digests) == 1
    assert len({(tmp_path / f"{i}.npz").read_bytes() for i in range(len(orders))}) == 1


def test_other_window_sums_have_another_digest(tmp_path):
    case = horizon_case()
    tally = tallied(case, tmp_path)
    cells = list(tally)
    absolute = cells[0].absolute.copy()
    absolute[0] = np.nextafter(absolute[0], 9)
    changed = Tally([replace(cells[0], absolute=absolute), *cells[1:]])
    path = tmp_path / "sums.npz"
    assert write_window_sums(tally, case.benchmark, path) != write_window_sums(
        changed, case.benchmark, path
    )


def test_tampered_window_sums_are_refused(tmp_path):
    path = tmp_path / "sums.npz"
    digest = write_window_sums(tallied(horizon_case(), tmp_path), horizon_case().benchmark, path)
    data = bytearray(path.read_bytes())
    for position in (0, len(data) // 2, len(data) - 1):
        tampered = bytearray(data)
        tampered[position] ^= 1
        path.write_bytes(tampered)
        with pytest.raises(InvalidInput, match=r"sums\.npz: has digest .* says"):
            read_window_sums(path, digest)
    path.write_bytes(data)
    assert read_window_sums(path, digest)


def test_absent_window_sums_are_not_found(tmp_path):
    with pytest.raises(NotFound, match="score again with --json"):
        read_window_sums(tmp_path / "sums.npz", "blake3:00")
