"""Preparing: from files to a store, with everything odd named and the rest going on."""

from __future__ import annotations

import json

import numpy as np
import pytest
from benchmarks.celegans import samples
from benchmarks.celegans.loops import prepared_by_loops
from benchmarks.celegans.samples import LABELLED, NAMES, sample

from zapeval.benchmarks.celegans import prepare as preparing
from zapeval.benchmarks.celegans.names import NAMES as SLOT_NAMES
from zapeval.benchmarks.celegans.names import SLOTS
from zapeval.benchmarks.celegans.prepare import prepare
from zapeval.benchmarks.celegans.store import open_worms, verify_worms
from zapeval.errors import InvalidInput, NotFound, Refused, UsageError
from zapeval.recordings.lock import locked


def said(report, left_out=None):
    return [str(f) for f in report.findings if left_out is None or f.left_out == left_out]


def write_bad(folder):
    """Writes a worm of every kind of bad input, and a good one."""

    def csv(name, worm):
        samples.write_csv(folder / f"{name}.csv", worm)

    good = sample(0, 800)
    csv("good", good)
    csv("nobody", sample(1, 800, ["", "7", "XYZ"]))
    csv("twice", sample(2, 800, ["AVAL", "AVAL", "RIH"]))
    csv("unsure", sample(3, 800, ["AVA?", "RIH"]))
    csv("typo", sample(4, 800, ["AVALL", "RIH"]))
    csv("short", sample(5, 300, ["AVAL"]))
    back = sample(6, 800)
    back.seconds[400] = back.seconds[300]
    csv("back", back)
    gone = sample(7, 800)
    gone.traces[:, 1] = np.nan
    gone.traces[5:9, 2] = np.nan
    gone.traces[:, 3] = 4.5
    csv("gone", gone)
    samples.write_npz(
        folder / "uneven.npz",
        samples.Sample(traces=good.traces, seconds=good.seconds[:-1], labels=NAMES),
    )
    samples.write_npz(
        folder / "unnamed.npz",
        samples.Sample(traces=good.traces, seconds=good.seconds, labels=NAMES[:3]),
    )
    (folder / "broken.json").write_text("{")
    (folder / "notes.md").write_text("nothing")
    samples.write_leifer(folder, 3, sample(8, 699))


def test_every_bad_input_is_named_and_the_rest_goes_on(tmp_path):
    write_bad(tmp_path / "Mine")
    report = prepare(tmp_path / "Mine", tmp_path / "out")
    assert {worm.name for worm in report.worms} == {
        *("Mine-good", "Mine-twice", "Mine-unsure", "Mine-typo", "Mine-short", "Mine-gone")
    }
    kept_out = "\n".join(said(report, left_out=True))
    assert "Mine-nobody: has no labelled neuron; column 2: label 'XYZ' is no canon" in kept_out
    assert "Mine-back: time does not increase: timestamp 400 is" in kept_out
    assert "Mine-uneven: has 800 frames and 799 timestamps, expected as many" in kept_out
    assert "Mine-unnamed: has 3 labels for 5 neurons, expected as many" in kept_out
    assert "broken.json: is not valid JSON" in kept_out
    assert "notes.md: is no recording that is known" in kept_out
    assert "Leifer2023-3: has 699 frames; its source is used from 700 on" in kept_out
    assert len(said(report, left_out=True)) == 7
    notes = said(report, left_out=False)
    expected = [
        "Mine-gone: RIML: 4 of 800 values are missing; filled in along time",
        "Mine-gone: DA1: is constant, has no variance; kept as zeros",
        "Mine-gone: column 1: is NaN throughout (label 'AVAR'); dropped",
        "Mine-twice: column 1: label 'AVAL' names AVAL, as column 0 does; the first keeps it",
        "Mine-typo: column 0: label 'AVALL' is no canonical name (did you mean 'AVAL'?); kept out",
        "Mine-unsure: column 0: label 'AVA?' is uncertain; kept out",
    ]
    assert set(expected) <= set(notes)
    (short,) = (note for note in notes if note.startswith("Mine-short"))
    assert "too few for celegans (181 in each part), celegans-generation (360" in short
    others = set(notes) - set(expected) - {short}
    assert all(
        "too few for celegans-generation (360 in each part), celegans-thr" in x for x in others
    )
    kept = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [f"{f['where']}: {f['text']}" for f in kept["findings"]] == said(report)


def test_a_prepared_worm_is_what_the_slow_twin_makes_of_its_labelled_neurons(tmp_path):
    worm = sample(0, 800, ["AVAL", "nonsense", "DA01", "7"])
    samples.write_csv(tmp_path / "in" / "a.csv", worm)
    report = prepare(tmp_path / "in", tmp_path / "out")
    (card,) = open_worms(tmp_path / "out").cards
    assert card.labelled == ("AVAL", "DA1")
    assert card.digest == report.worms[0].digest
    activity = open_worms(tmp_path / "out").recordings()[card.key].activity.read()
    expected = prepared_by_loops(worm.traces[:, [0, 2]], worm.seconds)
    columns = [SLOTS["AVAL"], SLOTS["DA1"]]
    np.testing.assert_allclose(activity[:, columns], expected, atol=1e-5)
    assert not np.delete(activity, columns, axis=1).any()
    provenance = card.provenance
    assert (provenance.file, provenance.recorded, provenance.raw_frames) == ("a.csv", 4, 800)
    assert provenance.source == "in"


def test_the_report_counts_source_by_source(tmp_path):
    worms = [sample(0, 1000), sample(1, 1000, NAMES[:3])]
    samples.write_struct(tmp_path / "in" / "WT_Stim.mat", worms, key="WT_Stim")
    samples.write_leifer(tmp_path / "in", 0, sample(2, 1000))
    samples.write_leifer(tmp_path / "in", 1, sample(3, 100))
    told = []
    report = prepare(
        tmp_path / "in", tmp_path / "out", progress=lambda done, total: told.append((done, total))
    )
    kato, leifer = report.lines
    assert (kato.source, kato.worms, kato.left_out) == ("Kato2015", 2, 0)
    assert (kato.labelled, kato.fewest, kato.most, kato.recorded) == (4, 3, 5, 4)
    assert kato.seconds == pytest.approx(1000, abs=2)
    assert (leifer.worms, leifer.left_out) == (1, 1)
    assert report.names == len(LABELLED)
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_licence_and_citation_travel_with_each_worm(tmp_path):
    samples.write_flavell_json(tmp_path / "in" / "a.json", sample(0, 800))
    samples.write_export(
        tmp_path / "in" / "e.parquet",
        {("Lin2023", "worm0"): sample(1, 800, ["AVAL"])},
        slots=SLOT_NAMES,
    )
    samples.write_csv(tmp_path / "in" / "Mine" / "b.csv", sample(2, 800))
    prepare(tmp_path / "in", tmp_path / "out", licence="CC0")
    found = {card.provenance.source: card.provenance for card in open_worms(tmp_path / "out").cards}
    assert found["Flavell2023"].licence == "CC BY 3.0 US (wormwideweb.org)"
    assert "Atanas" in found["Flavell2023"].citation
    assert found["Lin2023"].licence.startswith("MIT")
    assert found["Mine"].licence == "CC0"
    assert all(p.file_digest.startswith("sha256:") for p in found.values())


def test_an_interrupted_run_goes_on_where_it_was(tmp_path, monkeypatch):
    for number in range(3):
        samples.write_csv(tmp_path / "in" / f"{number}.csv", sample(number, 400))
    whole = prepare(tmp_path / "in", tmp_path / "whole")
    prepared = []
    original = preparing.standardised

    def cut(raw, origin, scale):
        prepared.append(raw.name)
        if len(prepared) == 3:
            raise KeyboardInterrupt
        return original(raw, origin, scale)

    monkeypatch.setattr(preparing, "standardised", cut)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    report = prepare(tmp_path / "in", tmp_path / "out")
    assert prepared == ["0", "1", "2", "2"]
    assert report.taken_over == 2
    assert report.digest == whole.digest
    assert report.worms == whole.worms
    assert not (tmp_path / ".out.part").exists()
    assert (tmp_path / "out" / "report.json").read_bytes() == (
        tmp_path / "whole" / "report.json"
    ).read_bytes()


def test_what_changed_since_the_interruption_is_prepared_anew(tmp_path, monkeypatch):
    folder = tmp_path / "in"
    for number in range(3):
        samples.write_csv(folder / f"{number}.csv", sample(number, 400))
    original = preparing.write_list

    def cut(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(preparing, "write_list", cut)
    with pytest.raises(KeyboardInterrupt):
        prepare(folder, tmp_path / "out")
    monkeypatch.setattr(preparing, "write_list", original)
    samples.write_csv(folder / "1.csv", sample(9, 400))
    (folder / "2.csv").unlink()
    report = prepare(folder, tmp_path / "out")
    assert report.taken_over == 1
    assert [worm.name for worm in report.worms] == ["in-0", "in-1"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == [
        "in-0",
        "in-1",
    ]
    assert verify_worms(open_worms(tmp_path / "out")) == []
    fresh = prepare(folder, tmp_path / "fresh")
    assert fresh.digest == report.digest


def test_the_scale_changes_every_worm_and_the_digest(tmp_path):
    samples.write_csv(tmp_path / "in" / "a.csv", sample(0, 400))
    paper = prepare(tmp_path / "in", tmp_path / "paper")
    causal = prepare(tmp_path / "in", tmp_path / "causal", scale="train-half")
    assert paper.digest != causal.digest
    assert open_worms(tmp_path / "causal").cards[0].provenance.scale == "train-half"
    with pytest.raises(UsageError, match="expected one of recording, train-half"):
        prepare(tmp_path / "in", tmp_path / "other", scale="half")


def test_worms_of_one_name_are_told_apart_or_left_out(tmp_path):
    samples.write_csv(tmp_path / "in" / "a.csv", sample(0, 400))
    samples.write_npz(tmp_path / "in" / "a.npz", sample(1, 400))
    report = prepare(tmp_path / "in", tmp_path / "out")
    assert [worm.name for worm in report.worms] == ["in-a"]
    assert said(report, left_out=True) == [
        "in-a: a.npz has a worm called as one of a.csv; rename it"
    ]


def test_nothing_usable_says_why_of_each(tmp_path):
    samples.write_csv(tmp_path / "in" / "a.csv", sample(0, 400, ["XYZ"]))
    with pytest.raises(InvalidInput, match=r"no worm can be used:\nin-a: has no labelled neuron"):
        prepare(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_store_that_exists_is_left_alone(tmp_path):
    samples.write_csv(tmp_path / "in" / "a.csv", sample(0, 400))
    prepare(tmp_path / "in", tmp_path / "out")
    before = (tmp_path / "out" / "zarr.json").read_bytes()
    with pytest.raises(InvalidInput, match="exists; remove it or choose another"):
        prepare(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out" / "zarr.json").read_bytes() == before


def test_two_runs_at_a_time_are_refused(tmp_path):
    samples.write_csv(tmp_path / "in" / "a.csv", sample(0, 400))
    with (
        locked(tmp_path / ".out.part", "prepare"),
        pytest.raises(Refused, match="another prepare is writing it"),
    ):
        prepare(tmp_path / "in", tmp_path / "out")


def test_a_store_that_was_changed_is_found_out(tmp_path):
    samples.write_csv(tmp_path / "in" / "a.csv", sample(0, 400))
    samples.write_csv(tmp_path / "in" / "b.csv", sample(1, 400))
    prepare(tmp_path / "in", tmp_path / "out")
    store = open_worms(tmp_path / "out")
    assert verify_worms(store) == []
    chunks = [tmp_path / "out" / name / "traces" / "c" / "0" / "0" for name in ("in-a", "in-b")]
    chunks[1].replace(chunks[0])
    first, second = verify_worms(store)
    assert "in-a: has other content than was prepared" in first
    assert "in-b" in second
    document = json.loads((tmp_path / "out" / "in-a" / "zarr.json").read_text())
    document["attributes"]["digest"] = "sha256:0"
    (tmp_path / "out" / "in-a" / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(InvalidInput, match="in-a is another worm than the store lists"):
        open_worms(tmp_path / "out")


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(NotFound, match="does not exist"):
        open_worms(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="is no store of worms; make one with"):
        open_worms(tmp_path)
