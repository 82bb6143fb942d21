from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from contenders import STEPS, field, keep, moved, noise
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zapeval.errors import InvalidInput, NotFound, UsageError
from zapeval.reports.comparison import compare
from zapeval.reports.entries import read_entries
from zapeval.scoring.longrun import long_run
from zapeval.scoring.scorecard import read_scorecard
from zapeval.scoring.student import two_sided
from zapeval.scoring.uncertainty import deviations

FIELD = field()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Scorecards of five forecasters: equal, shifted, noisy, and far worse ones."""
    folder, rng = tmp_path_factory.mktemp("cards"), np.random.default_rng(0)
    base = noise(FIELD, rng)
    other = {name: values + 0.05 * rng.normal(size=values.shape) for name, values in base.items()}
    return [
        keep(folder, "a", FIELD, base, name="first"),
        keep(folder, "b", FIELD, base, name="second"),
        keep(folder, "c", FIELD, other, name="noisy"),
        keep(folder, "d", FIELD, moved(base, 0.5), name="persistence"),
        keep(folder, "e", FIELD, noise(FIELD, rng, level=3), name="worst"),
    ]


@pytest.fixture(scope="module")
def made(files):
    return compare(read_entries(files))


def row_of(made, name):
    return next(row for row in made.rows if row.entry.name == name)


def pair_of(made, *names):
    return next(pair for pair in made.pairs if {pair.first, pair.second} == set(names))


def test_scores_and_intervals_of_one_seed_are_those_of_the_scorecard(files, made):
    for file in files:
        card = read_scorecard(file)
        score = row_of(made, card.forecaster["name"]).score
        assert score.value == pytest.approx(card.summary.value, rel=1e-12)
        assert (score.low, score.high) == pytest.approx(
            (card.summary.low, card.summary.high), rel=1e-9
        )


def test_forecasters_that_differ_by_nothing_tie_to_the_last_bit(made):
    first, second = row_of(made, "first"), row_of(made, "second")
    assert first.score == second.score
    assert (first.rank, first.ranks, first.group) == (second.rank, second.ranks, second.group)
    assert first.skill == second.skill
    pair = pair_of(made, "first", "second")
    assert (pair.difference, pair.p, pair.adjusted) == (0.0, 1.0, 1.0)


def test_paired_differences_are_those_of_loops(files, made):
    """Twin: every window's difference by hand, put about its frame, then one long-run variance."""
    entries = {entry.name: entry for entry in read_entries(files)}
    variances, degrees, means = [], [], []
    for series in FIELD.series[:2]:
        one, two = (entries[name].errors(series.name, "mae") for name in ("noisy", "worst"))
        differences = one - two
        mean = np.mean([differences[:, step - 1].mean() for step in STEPS])
        frames: dict[int, float] = {}
        for window, origin in enumerate(series.origins):
            for step in STEPS:
                off = differences[window, step - 1] - differences[:, step - 1].mean()
                frame = origin + step - 1
                frames[frame] = frames.get(frame, 0.0) + off / len(STEPS) / series.windows
        run = long_run(np.array([[frames[frame]] for frame in sorted(frames)]))
        variances.append(float(run.variance[0]))
        degrees.append(float(run.degrees[0]))
        means.append(mean)
    variance = sum(variances) / 4
    total = variance**2 / sum((v / 4) ** 2 / d for v, d in zip(variances, degrees, strict=True))
    pair = pair_of(made, "noisy", "worst")
    assert abs(pair.difference) == pytest.approx(abs(np.mean(means)), rel=1e-12)
    assert pair.spread.variance == pytest.approx(variance, rel=1e-9)
    assert pair.spread.degrees == pytest.approx(total, rel=1e-9)
    assert pair.p == pytest.approx(two_sided(np.mean(means) / variance**0.5, total), rel=1e-6)


@pytest.mark.parametrize(("errors", "group"), [(1.5, 1), (3.0, 2)])
def test_three_standard_errors_separate_two(tmp_path, errors, group):
    """With the 7 degrees or more here the t-test's critical value is below 2.4."""
    rng = np.random.default_rng(4)
    base = noise(FIELD, rng)
    other = {name: values + 0.05 * rng.normal(size=values.shape) for name, values in base.items()}

    def compared(values):
        files = [
            keep(tmp_path, name, FIELD, of, name=name) for name, of in (("a", base), ("b", values))
        ]
        return compare(read_entries(files))

    made = compared(other)
    spread, scores = made.pairs[0].spread, {r.entry.name: r.score.value for r in made.rows}
    assert spread.degrees > 7
    error = spread.variance**0.5
    made = compared(moved(other, errors * error - (scores["b"] - scores["a"])))
    assert made.pairs[0].difference == pytest.approx(-errors * error)
    assert [(row.entry.name, row.rank, row.group) for row in made.rows] == [
        ("a", 1, 1),
        ("b", 2, group),
    ]
    assert (made.rows[0].ranks.high, made.rows[1].ranks.low) == ((2, 1) if group == 1 else (1, 2))


@settings(
    deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(order=st.permutations(range(5)))
def test_the_order_of_the_files_changes_nothing(files, made, order):
    assert compare(read_entries([files[i] for i in order])).to_json() == made.to_json()


def test_slices_take_one_series_or_one_step(files):
    entries = read_entries(files)
    card = read_scorecard(files[2])
    for series, step in (("series 2", 4), ("series 0", 1), ("pooled", 2), ("average", 3)):
        for metric in ("mae", "mse"):
            made = compare(entries, metric=metric, series=series, step=step)
            score = row_of(made, "noisy").score
            kept = next(
                s for s in card.scores if (s.series, s.step, s.metric) == (series, step, metric)
            )
            assert score.value == pytest.approx(kept.value, rel=1e-12)
            assert (score.low, score.high) == pytest.approx((kept.low, kept.high), rel=1e-6)


def test_unknown_names_and_steps_list_the_known(files):
    entries = read_entries(files)
    with pytest.raises(NotFound, match=r"no series 'dark'; known: average, pooled, series 0"):
        compare(entries, series="dark")
    with pytest.raises(NotFound, match=r"no entry 'tide' as baseline; known: first, noisy"):
        compare(entries, baseline="tide")
    with pytest.raises(UsageError, match=r"step is 5, expected 1 to 4"):
        compare(entries, step=5)
    with pytest.raises(UsageError, match=r"no differences of 'correlation'; known: mae, mse"):
        compare(entries, metric="correlation")


def test_seeds_of_one_forecaster_are_one_entry(tmp_path):
    rng = np.random.default_rng(0)
    drawn = [noise(FIELD, rng, level=level) for level in (1.0, 1.1, 1.3)]
    files = [
        keep(
            tmp_path,
            f"s{i}",
            FIELD,
            errors,
            name="net",
            seed=i,
            checkpoint=str(i),
            cost={"parameters": 10, "training_seconds": 10.0 * i, "hardware": "cpu"},
        )
        for i, errors in enumerate(drawn)
    ]
    files.append(keep(tmp_path, "p", FIELD, noise(FIELD, rng, level=2), name="persistence"))
    made = compare(read_entries(files))
    assert [row.entry.name for row in made.rows] == ["net", "persistence"]
    scores = [read_scorecard(file).summary.value for file in files[:3]]
    net = made.rows[0]
    assert net.score.value == pytest.approx(np.mean(scores))
    assert net.over_seeds == pytest.approx(2 * np.std(scores, ddof=1) / 3**0.5)
    assert made.rows[1].over_seeds is None
    assert net.cost == {"parameters": 10, "training_seconds": 10.0, "hardware": "cpu"}
    # The interval in time is that of the mean over seeds, not of any of them.
    runs = [
        deviations(
            s.origins,
            np.mean([d[s.name] for d in drawn], axis=0)[..., None],
            dict.fromkeys(STEPS, 1 / 3),
        )
        for s in FIELD.series[:2]
    ]
    half = (net.score.high - net.score.low) / 2
    spread = sum(run.variance[0] for run in runs) / 4
    assert 1.9 < half / spread**0.5 < 3


def test_sampled_series_are_tested_by_the_paired_t_test(tmp_path):
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    worms = field((12, 9, 30, 14, 8, 10), held_out=(), sampled="series", protocol="next-step")

    def errors(level):
        each = [
            {one.name: level + rng.normal() + 0.1 * rng.normal(size=(one.windows, 1))}
            for one in worms.series
        ]
        return {k: np.abs(v) for one in each for k, v in one.items()}

    a, b = errors(5), errors(6)
    files = [keep(tmp_path, "a", worms, a, name="a"), keep(tmp_path, "b", worms, b, name="b")]
    made = compare(read_entries(files))
    means = [[values[s.name].mean() for s in worms.series] for values in (a, b)]
    expected = stats.ttest_rel(*means)
    assert made.pairs[0].p == pytest.approx(expected.pvalue, rel=1e-9)
    assert made.method.startswith("variance between series")
    interval = sorted(expected.confidence_interval())
    estimate = made.pairs[0].estimate
    assert sorted(map(abs, (estimate.low, estimate.high))) == pytest.approx(
        sorted(map(abs, interval)), rel=1e-6
    )
    single = compare(read_entries(files), series="series 0")
    assert single.reason.startswith("series are sampled, and series 0 has 1")
    assert single.pairs[0].p is None and single.rows[0].group is None
    assert [row.rank for row in single.rows] == [1, 2]


def test_too_few_windows_have_no_tests_and_say_why(tmp_path):
    short, rng = field((60, 5), held_out=()), np.random.default_rng(0)
    files = [
        keep(tmp_path, name, short, noise(short, rng, level=level), name=name)
        for name, level in (("a", 1), ("b", 2))
    ]
    made = compare(read_entries(files))
    assert made.reason == "fewer than 8 windows: series 1"
    assert made.method is None
    assert all(row.score.low is row.ranks is row.group is None for row in made.rows)
    assert [row.rank for row in made.rows] == [1, 2]
    assert json.loads(made.to_json())["pairs"][0]["p"] is None


def test_partial_cards_of_one_set_are_compared_and_never_ranked(tmp_path):
    rng = np.random.default_rng(0)
    files = [
        keep(tmp_path, name, FIELD, noise(FIELD, rng), name=name, missing=3) for name in ("a", "b")
    ]
    made = compare(read_entries(files))
    assert made.partial and made.pairs[0].p is not None
    assert all(row.rank is row.ranks is row.group is None for row in made.rows)


def test_the_document_holds_every_number_and_its_identity(made, files):
    document = json.loads(made.to_json())
    assert document["schema"] == "zapeval.comparison/1"
    assert document["benchmark"]["digest"] == FIELD.digest
    assert document["slice"] == {"metric": "mae", "series": "average", "steps": list(STEPS)}
    assert document["baseline"] == "persistence"
    assert [entry["rank"] for entry in document["entries"]] == sorted(
        entry["rank"] for entry in document["entries"]
    )
    assert len(document["pairs"]) == 10
    names = [entry["name"] for entry in document["entries"]]
    for pair in document["pairs"]:
        assert names.index(pair["first"]) < names.index(pair["second"])
        assert pair["difference"] <= 0
        assert pair["p"] <= pair["adjusted"] <= 1
    sums = {entry["cards"][0]["sums"] for entry in document["entries"]}
    assert sums == {read_scorecard(file).sums["digest"] for file in files}


def test_a_comparison_does_not_hang_on_the_entries_order(made, files):
    entries = read_entries(files)
    assert compare(entries[::-1]).to_json() == made.to_json()
    renamed = [replace(entry, name=f"x{i}") for i, entry in enumerate(entries)]
    again = {row.score.value: row.rank for row in compare(renamed).rows}
    assert again == {row.score.value: row.rank for row in made.rows}


def test_ties_and_rank_intervals_never_contradict(files):
    rng, mild = np.random.default_rng(7), []
    base = noise(FIELD, rng)
    for index in range(6):
        part = {k: v + 0.3 * rng.normal(size=v.shape) for k, v in base.items()}
        mild.append(keep(files[0].parent, f"mild{index}", FIELD, moved(part, 0.03 * index)))
    made = compare(read_entries([*files, *mild]))
    groups = {}
    for row in made.rows:
        groups.setdefault(row.group, []).append(row)
    assert len(groups) > 1
    for first, *others in groups.values():
        # As many are beyond doubt for the first as its interval leaves out, and none of its group.
        assert 1 + len(others) <= first.ranks.high
        if first.ranks.low == first.ranks.high:
            assert all(row.rank == first.rank for row in others)


def test_a_summary_that_its_rows_do_not_make_is_refused(files, tmp_path):
    card = json.loads(files[0].read_text())
    card["summary"]["value"] *= 0.9
    changed = tmp_path / files[0].name
    changed.write_text(json.dumps(card))
    sums = files[0].with_suffix(".windows.npz")
    changed.with_suffix(".windows.npz").write_bytes(sums.read_bytes())
    with pytest.raises(InvalidInput, match=r"its summary is .*, but .* by its rows"):
        read_entries([changed, files[2]])


def test_skill_is_never_beyond_all_of_the_error(files):
    made = compare(read_entries(files), baseline="worst")
    assert all(row.skill.high is None or row.skill.high <= 1 for row in made.rows)
