"""Every command and program of README and docs runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from documents import PROJECT, Block, blocks, documents
from published import NEURONS, write_bucket
from servers import BUCKET, gcs_emulator

from zapeval.benchmarks.zapbench import FRAMES, HORIZON, VOLUMES, ZAPBENCH
from zapeval.recordings.stores import open_store
from zapeval.recordings.writer import Layout, write_array


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The public bucket's layout over a few neurons, behind a real server."""
    root = tmp_path_factory.mktemp("bucket")
    write_bucket(root)
    stimuli = np.zeros((FRAMES, 26), np.float32)
    volumes = open_store(root).child(VOLUMES)
    write_array(volumes.child("stimuli_features"), stimuli, Layout(chunk=(FRAMES, 26)))
    frame = root / VOLUMES / "segmentation" / "dataframe.json"
    frame.parent.mkdir()
    frame.write_text("{}")
    with gcs_emulator() as address:
        environment = os.environ | {"TENSORSTORE_GCS_HTTP_URL": address}
        code = """
import pathlib, sys, tensorstore as ts
root = pathlib.Path(sys.argv[1])
store = ts.KvStore.open({"driver": "gcs", "bucket": sys.argv[2]}).result()
for path in root.rglob("*"):
    if path.is_file():
        store.write(str(path.relative_to(root)), path.read_bytes()).result()
"""
        subprocess.run([sys.executable, "-c", code, root, BUCKET], env=environment, check=True)
        yield address


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that the documents share, so that the brain is generated once."""
    return tmp_path_factory.mktemp("data")


@pytest.mark.slow
@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_every_block_of_a_document_runs(
    document: Path, tmp_path: Path, bucket: str, data: Path
) -> None:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TENSORSTORE_GCS_HTTP_URL": bucket,
        "ZAPEVAL_DATA": str(data),
    }
    for block in blocks(document):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
        elif block.language in ("sh", "python"):
            _run(block, tmp_path, environment)


def test_every_command_stands_in_a_block_that_runs() -> None:
    for document in documents():
        for block in blocks(document):
            typed = re.search(r"^(zapeval|make|pip) ", block.text, re.MULTILINE)
            assert block.language or not typed, (
                f"{document.name}: a block with commands has no language, so it does not run"
            )


def test_every_link_between_documents_leads_somewhere() -> None:
    for document in documents():
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def _run(block: Block, folder: Path, environment: dict[str, str]) -> None:
    if block.needs == "make":
        # The targets run for real in CI; here make says what it would do.
        targets = re.findall(r"^make (\w+)", block.text, re.MULTILINE)
        subprocess.run(["make", "--dry-run", *targets], cwd=PROJECT, check=True)
        return
    if block.needs == "pip" or (block.needs == "torch" and find_spec("torch") is None):
        # What is installed stays installed; tests/cli/test_forecasters.py does it apart. PyTorch is
        # no dependency; where a developer has it, its example runs.
        return
    if block.needs in ("board", "token", "postgresql"):
        # tests/leaderboard/test_docs.py runs these against a board.
        return
    if block.needs == "public bucket":
        _write_public_predictions(folder / "predictions.zarr")
    if block.needs == "traces.npy":
        walks = np.random.default_rng(0).normal(size=(200, 5)).cumsum(axis=0)
        np.save(folder / "traces.npy", walks.astype(np.float32))
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    if block.language == "python":
        command = [sys.executable, "-W", "error", "-c", block.text]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"


def _write_public_predictions(folder: Path) -> None:
    """Writes predictions as the public code does: a bare folder of zarr v2 arrays."""
    import zarr

    for series in ZAPBENCH.series:
        shape = (series.windows, HORIZON, NEURONS)
        array = zarr.create_array(
            folder / series.array,
            shape=shape,
            chunks=(min(shape[0], 32), 1, NEURONS),
            dtype="<f4",
            zarr_format=2,
            compressors=None,
        )
        array[:] = np.full(shape, 0.1, np.float32)
