from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import CONTEXT, Case, horizon_case, manifest, worms_case
from cli.tiny import Layout, write_array

from zapeval.errors import InvalidInput
from zapeval.forecasting.check import ROW_LIMIT, Finding, check, require_no_errors
from zapeval.forecasting.predictions import open_predictions
from zapeval.recordings.recording import Recordings, open_recording

CASE = horizon_case()
WORMS = worms_case()


def write(folder: Path, case: Case, **values: np.ndarray) -> Path:
    """Writes a bare store of a case, with other arrays in place of some or beside them."""
    for name, array in ({**case.values} | values).items():
        write_array(folder / name, array, Layout(chunk=tuple(max(1, n) for n in array.shape)))
    return folder


def findings(store: Path, case: Case, folder: Path, **options: int) -> tuple[Finding, ...]:
    recordings = case.recordings(folder / "recordings")
    return check(open_predictions(str(store)), case.benchmark, recordings, **options)


@pytest.mark.parametrize("case", [CASE, WORMS])
def test_whole_predictions_have_no_finding(tmp_path, case):
    assert findings(write(tmp_path / "p", case), case, tmp_path) == ()


def test_float16_needs_no_note_and_float64_gets_one(tmp_path):
    first, second, third = CASE.values
    store = write(
        tmp_path / "p",
        CASE,
        **{first: CASE.values[first].astype("f2"), third: CASE.values[third].astype("f8")},
    )
    (note,) = findings(store, CASE, tmp_path)
    assert note.severity == "note"
    assert note.message == f"{store}/{third}: is float64; it is scored rounded to float32"
    assert second in CASE.values
    require_no_errors(open_predictions(str(store)), (note,))


def test_values_are_not_read(tmp_path):
    name = next(iter(CASE.values))
    store = write(tmp_path / "p", CASE, **{name: np.full_like(CASE.values[name], np.nan)})
    assert findings(store, CASE, tmp_path) == ()


def test_findings_come_series_by_series_and_all_at_once(tmp_path):
    first, second, third = CASE.values
    store = write(
        tmp_path / "p",
        CASE,
        **{
            second: CASE.values[second][1:, :, :3].astype("i4"),
            third: CASE.values[third][:, 0],
            "another": CASE.values[first],
        },
    )
    shutil.rmtree(store / first)
    said = [finding.message for finding in findings(store, CASE, tmp_path)]
    starts = [
        f"{store}/{first}: is missing; expected the forecasts of condition 0, 9 windows",
        f"{store}/another: is not part of case@1; expected {first}, {second}, {third}",
        f"{store}/{second}: 3 windows, expected 4 (case@1, condition 1)",
        f"{store}/{second}: 3 neurons, expected 7 (case@1, condition 1)",
        f"{store}/{second}: is int32, expected float32 or float16",
        f"{store}/{third}: has shape [11, 7], expected [windows, steps, neurons] = [11, 5, 7]",
    ]
    assert said == starts


def test_the_error_holds_every_finding(tmp_path):
    store = write(tmp_path / "p", CASE)
    for name in CASE.values:
        shutil.rmtree(store / name)
    found = findings(store, CASE, tmp_path)
    with pytest.raises(InvalidInput) as caught:
        require_no_errors(open_predictions(str(store)), found)
    head, *lines = str(caught.value).splitlines()
    assert head == f"{store}: 3 things are wrong, so nothing was scored:"
    assert lines == [f"- {finding.message}" for finding in found]
    assert caught.value.findings == tuple(finding.message for finding in found)
    with pytest.raises(InvalidInput) as alone:
        require_no_errors(open_predictions(str(store)), found[:1])
    assert str(alone.value) == found[0].message


def test_what_cannot_be_opened_is_said_in_its_own_words(tmp_path):
    store = write(tmp_path / "p", CASE)
    name = next(iter(CASE.values))
    (store / name / ".zarray").write_text("{")
    (finding,) = findings(store, CASE, tmp_path)
    assert finding.message.startswith(f"{store}/{name}/.zarray: is not valid JSON: ")


def test_next_step_speaks_of_positions(tmp_path):
    name, values = next(iter(WORMS.values.items()))
    for changed in (values[:, 1:], values.transpose(0, 2, 1), values[0]):
        shutil.rmtree(tmp_path / "p", ignore_errors=True)
        store = write(tmp_path / "p", WORMS, **{name: changed})
        said = " ".join(finding.message for finding in findings(store, WORMS, tmp_path))
        assert "positions" in said
        assert "steps" not in said


def test_neurons_are_those_of_each_recording(tmp_path):
    first, second, _ = WORMS.values
    swapped = {first: WORMS.values[second], second: WORMS.values[first]}
    store = write(tmp_path / "p", WORMS, **swapped)
    said = [finding.message for finding in findings(store, WORMS, tmp_path)]
    assert f"{store}/{first}: 9 neurons, expected 6 (worms@1, worm 0)" in said
    assert f"{store}/{second}: 6 neurons, expected 9 (worms@1, worm 1)" in said


def test_a_chunk_is_looked_for_only_where_the_shape_is_right(tmp_path):
    name, values = next(iter(CASE.values.items()))
    for shape, count in ((values, 1), (values[1:], 1)):
        shutil.rmtree(tmp_path / "p", ignore_errors=True)
        store = write(tmp_path / "p", CASE, **{name: shape})
        (store / name / "0.0.0").unlink()
        found = findings(store, CASE, tmp_path)
        assert len(found) == count
        assert ("chunk is missing" in found[0].message) == (shape is values)


def test_chunks_may_be_as_large_as_the_memory_that_is_meant_for_them(tmp_path):
    name, values = next(iter(CASE.values.items()))
    store = write(tmp_path / "p", CASE)
    file = store / name / ".zarray"
    document = json.loads(file.read_text())
    # Seven chunks side by side, each far below the limit of a chunk.
    row = ROW_LIMIT // (4 * values.shape[2])
    for windows, too_large in ((row, False), (row + 1, True)):
        file.write_text(json.dumps(document | {"chunks": [windows, 1, 1]}))
        said = [finding.message for finding in findings(store, CASE, tmp_path)]
        assert any("bytes in memory at once" in text for text in said) == too_large


def test_a_manifest_must_be_of_the_benchmark_and_the_context(tmp_path):
    said = manifest(CASE.benchmark)
    predictions = CASE.predictions(tmp_path / "p", said=said)
    recordings = CASE.recordings(tmp_path / "recordings")
    assert check(predictions, CASE.benchmark, recordings, context=CONTEXT) == ()
    (finding,) = check(predictions, CASE.benchmark, recordings, context=CONTEXT - 1)
    assert finding.message == (
        f"{predictions.uri}: was forecast from 4 frames of context, not from 3; leave -c out, or "
        "give -c 4"
    )
    other = replace(CASE.benchmark, summary_steps=(1,))
    (finding,) = check(predictions, other, recordings)
    assert f"{predictions.uri}: was forecast for another definition of case@1 (digest sha256:" in (
        finding.message
    )
    for changed, label in (({"id": "x"}, "x@1"), ({"version": 2}, "case@2")):
        (finding,) = check(predictions, replace(CASE.benchmark, **changed), recordings)
        assert finding.message == f"{predictions.uri}: is for case@1, not for {label}"


def test_recordings_must_be_those_of_the_benchmark(tmp_path):
    store = write(tmp_path / "p", CASE)
    with pytest.raises(InvalidInput, match="case@1: needs recording 'fish', which is not given"):
        check(open_predictions(str(store)), CASE.benchmark, Recordings({}))
    np.save(tmp_path / "short.npy", CASE.activity["fish"][:-1])
    short = Recordings({"fish": lambda: open_recording(f"{tmp_path}/short.npy")})
    with pytest.raises(InvalidInput, match=r"short.npy: has \d+ frames, expected \d+ \(case@1\)"):
        check(open_predictions(str(store)), CASE.benchmark, short)


def volumes(case: Case) -> dict[str, np.ndarray]:
    return {name: np.zeros((*v.shape[:2], 2, 2, 2), "f4") for name, v in case.values.items()}


def test_volumes_are_covered_with_a_segmentation_and_not_without(tmp_path):
    store = write(tmp_path / "p", CASE, **volumes(CASE))
    opened = open_predictions(str(store))
    assert opened.kind == "volume"
    said = [finding.message for finding in findings(store, CASE, tmp_path)]
    assert len(said) == 3
    assert all("has no segmentation to make them traces with" in text for text in said)
    folder = tmp_path / "fish"
    write_array(folder / "traces", CASE.activity["fish"], Layout(chunk=(99, 7)))
    write_array(folder / "segmentation", np.zeros((2, 2, 2), "u1"), Layout(chunk=(2, 2, 2)))
    whole = Recordings({"fish": lambda: open_recording(str(folder))})
    assert check(opened, CASE.benchmark, whole) == ()


def test_volumes_and_traces_do_not_mix(tmp_path):
    name, values = next(iter(volumes(CASE).items()))
    store = write(tmp_path / "p", CASE, **{name: values})
    (finding,) = findings(store, CASE, tmp_path)
    assert finding.message == (
        f"{store}/{name}: holds volumes, but other arrays of the store hold traces; expected one "
        "of the two throughout"
    )
