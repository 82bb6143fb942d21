"""``zapeval benchmarks verify``: over files, web servers and buckets, and what ends it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from cli.conftest import PROGRAM
from published import COMBINED, ORDER, TARGETS, TRACES, changed, encoded, rows, write_bucket
from recordings.conftest import web  # noqa: F401
from servers import BUCKET

VERIFY = ("benchmarks", "verify", "zapbench")
FOLDER = "volumes/20240930"
AGREE = "# 576 of 576 values (mae and mse of 9 conditions, 32 steps) agree to 8 decimals"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    return write_bucket(tmp_path_factory.mktemp("public") / "bucket")


@pytest.fixture
def data(bucket):
    return ("--data", bucket / FOLDER)


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """The folder in which temporary folders are made, also by programs that are started."""
    import tempfile

    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def off(by):
    """Returns a table with one published number changed."""

    def change(row):
        return row | {"MAE": row["MAE"] + by}

    return encoded(changed(change, ("condition", "flash"), ("steps_ahead", 17)))


def test_mean_agrees_with_the_published_table(run, data, bucket, scratch):
    outcome = run(*VERIFY, *data)
    assert (outcome.code, outcome.err) == (0, ""), outcome
    lines = outcome.out.splitlines()
    assert [line.split()[0] for line in lines if " here " in line][:9] == [
        name.split()[0] for name in TARGETS
    ]
    assert f"# recording {bucket / TRACES}" in lines
    assert f"# published {bucket / COMBINED}" in lines
    assert lines[-1].startswith(AGREE)
    assert list(scratch.iterdir()) == []


def test_a_number_off_in_the_seventh_decimal_fails(run, data, tmp_path, scratch):
    (tmp_path / "table.json").write_text(off(1e-7))
    file = tmp_path / "out" / "found.json"
    outcome = run(*VERIFY, *data, "--table", tmp_path / "table.json", "--json", file)
    assert outcome.code == 3
    assert "# 575 of 576 values" in outcome.out
    assert f"error: {tmp_path / 'table.json'}: 1 of 576 values differ" in outcome.err
    assert "first: mae of flash at step 17: " in outcome.err
    assert "largest, by 1.0e-07: mae of flash at step 17: " in outcome.err
    document = json.loads(file.read_text())
    assert (document["agrees"], document["disagreements"]) == (False, 1)
    wrong = [one for one in document["values"] if not one["agrees"]]
    assert [(one["series"], one["step"], one["metric"]) for one in wrong] == [("flash", 17, "mae")]
    assert list(scratch.iterdir()) == []


def test_shuffled_rows_and_conditions_agree(run, data, tmp_path):
    names = list(TARGETS)
    table = [
        row | {"condition": index}
        for index in ORDER
        for row in rows()
        if row["condition"] == names[index]
    ]
    (tmp_path / "table.json").write_text(encoded(table))
    outcome = run(*VERIFY, *data, "--table", tmp_path / "table.json")
    assert outcome.code == 0, outcome
    assert outcome.out.splitlines()[-1].startswith(AGREE)


def test_names_zipped_with_the_order_of_the_public_code_fail(run, data, tmp_path):
    names = list(TARGETS)
    zipped = {names[index]: names[position] for position, index in enumerate(ORDER)}
    table = [row | {"condition": zipped[row["condition"]]} for row in rows()]
    (tmp_path / "table.json").write_text(encoded(table))
    outcome = run(*VERIFY, *data, "--table", tmp_path / "table.json", "--quiet")
    assert (outcome.code, outcome.out) == (3, "")
    assert "384 of 576 values differ" in outcome.err
    assert "first: mae of taxis at step 1: " in outcome.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (encoded(rows())[:-1], "is not valid JSON: Unterminated string"),
        ("17", "is a JSON int, expected a pandas table with columns method"),
        (
            encoded(changed(lambda row: None, ("condition", "dark"), ("steps_ahead", 3))),
            "mean, context 4: lacks MAE of dark at step 3",
        ),
    ],
    ids=["truncated", "number", "row missing"],
)
def test_a_wrong_table_is_refused_before_anything_is_forecast(
    run, data, tmp_path, scratch, text, expected
):
    (tmp_path / "table.json").write_text(text)
    outcome = run(*VERIFY, *data, "--table", tmp_path / "table.json")
    assert (outcome.code, outcome.out) == (3, "")
    assert f"error: {tmp_path / 'table.json'}: {expected}" in outcome.err
    assert list(scratch.iterdir()) == []


def test_absent_table_is_not_found(run, data, tmp_path):
    outcome = run(*VERIFY, *data, "--table", tmp_path)
    assert (outcome.code, outcome.out) == (4, "")
    assert f"published table: is not at {tmp_path / 'combined.json'}" in outcome.err


def test_json_on_standard_output_stands_alone(run, data):
    outcome = run(*VERIFY, *data, "--json", "-", "-q")
    assert (outcome.code, outcome.err) == (0, "")
    assert json.loads(outcome.out)["agrees"] is True


def test_quiet_prints_nothing_where_all_agrees(run, data):
    outcome = run(*VERIFY, *data, "--quiet")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


def test_nothing_is_published_for_other_benchmarks(run, tiny):
    for name, said in (("zapbench-mini", "zapbench-mini"), (tiny, "tiny")):
        outcome = run("benchmarks", "verify", name)
        assert (outcome.code, outcome.out) == (5, "")
        assert f"error: {said}: no numbers are published for it" in outcome.err
    assert run("benchmarks", "verify", "nothing").code == 4


def test_table_of_the_mirror_serves_a_recording_elsewhere(run, bucket, tmp_path, monkeypatch):
    shutil.copytree(bucket / TRACES, tmp_path / "copy/traces")
    mirror = tmp_path / "data/zapbench"
    mirror.mkdir(parents=True)
    shutil.copy(bucket / COMBINED, mirror / "combined.json")
    outcome = run(*VERIFY, "--data", tmp_path / "copy")
    assert outcome.code == 0, outcome
    assert f"# published {mirror / 'combined.json'}" in outcome.out


def test_recording_and_table_behind_http_agree(run, bucket, web):  # noqa: F811
    shutil.copytree(bucket, web.root)
    outcome = run(*VERIFY, "--data", f"{web.url}/{FOLDER}")
    assert outcome.code == 0, outcome
    assert f"# published {web.url}/{COMBINED}" in outcome.out
    assert outcome.out.splitlines()[-1].startswith(AGREE)
    # The targets of two conditions may share a chunk; no condition reads one twice.
    chunks = Counter({path: n for path, n in web.requests.items() if f"{TRACES}/c/" in path})
    assert chunks
    assert max(chunks.values()) <= 2


def test_recording_and_table_behind_s3_agree(run, bucket, s3):
    for file in bucket.rglob("*"):
        if file.is_file():
            key = str(file.relative_to(bucket))
            s3.put_object(Bucket=BUCKET, Key=key, Body=file.read_bytes())
    outcome = run(*VERIFY, "--data", f"s3://{BUCKET}/{FOLDER}")
    assert outcome.code == 0, outcome
    assert outcome.out.splitlines()[-1].startswith(AGREE)
    table = ("--table", f"s3://{BUCKET}/{COMBINED}")
    outcome = run(*VERIFY, "--data", bucket / FOLDER, *table, "--json", "-")
    assert json.loads(outcome.out)["published"]["uri"] == f"s3://{BUCKET}/{COMBINED}"


GOOGLE = """
import pathlib, sys
import tensorstore as ts
from zapeval.cli.app import main
folder = pathlib.Path(sys.argv[1])
bucket = ts.KvStore.open({"driver": "gcs", "bucket": "zapbench-release"}).result()
names = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
for name in names:
    bucket.write(name, (folder / name).read_bytes()).result()
sys.argv = ["zapeval", "benchmarks", "verify", "zapbench"]
try:
    main()
finally:
    for name in names:
        bucket.write(name, None).result()
"""


def test_public_bucket_is_the_default(gcs, bucket):
    lines = gcs.run(GOOGLE, bucket).splitlines()
    assert f"# recording gs://{BUCKET}/{TRACES}" in lines
    assert f"# published gs://{BUCKET}/{COMBINED}" in lines
    assert lines[-1].startswith(AGREE)


def test_ctrl_c_leaves_nothing(bucket, scratch):
    command = [sys.executable, "-c", PROGRAM, *VERIFY, "--data", str(bucket / FOLDER)]
    program = subprocess.Popen(
        command, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 60
    while not list(scratch.glob("zapeval-*/.*/test_*")):
        assert program.poll() is None, program.communicate()
        assert time.monotonic() < end
        time.sleep(0.002)
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=60)
    assert (program.returncode, out) == (130, ""), err
    assert "Traceback" not in err
    assert list(scratch.iterdir()) == []
