"""Queued: submissions of stores on disk, put before a worker without the web."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from leaderboard import jobs
from leaderboard.database import Database
from leaderboard.settings import Settings
from leaderboard.states import State, move
from leaderboard.storage import Storage
from leaderboard.tables import Submission, User, new_id, now
from zapeval.benchmarks.catalogue import find_recipe
from zapeval.forecasting.manifest import BenchmarkPart, ForecasterPart, Manifest
from zapeval.recordings.stores import open_store
from zapeval.recordings.writer import Layout, write_array, write_group

CONTEXT = 4


def write_store(
    folder: Path,
    *,
    name: str = "mine",
    seed: int | None = None,
    noise: float = 0.01,
    rng: int = 0,
    dtype: str = "float32",
    benchmark: str = "zapbench-smoke",
) -> Path:
    """Writes forecasts of the smoke benchmark: the last frame that was seen, and some noise."""
    recipe = find_recipe(benchmark)
    recordings = recipe.recordings()
    task = recipe.resolve(recordings)
    manifest = Manifest(
        benchmark=BenchmarkPart(id=task.id, version=task.version, digest=task.digest),
        context=CONTEXT,
        forecaster=ForecasterPart(name=name, version="1", seed=seed),
    )
    store = open_store(folder)
    folder.mkdir(parents=True)
    write_group(store, manifest.to_attributes())
    generator = np.random.default_rng(rng)
    for series in task.series:
        activity = recordings[series.recording].activity
        seen = np.stack(
            [activity.read((o - 1, o), (0, activity.shape[1]))[0] for o in series.origins]
        )
        shape = (series.windows, task.horizon, activity.shape[1])
        values = seen[:, None] + noise * generator.standard_normal(shape)
        layout = Layout(chunk=(32, 8, shape[2]))
        write_array(store.child(series.array), values.astype(dtype), layout)
    return folder


def user_of(database: Database, name: str) -> str:
    """Makes an account; returns its id."""
    with database.write() as session:
        user = User(id=new_id(), name=name)
        session.add(user)
    return user.id


def manifest_of(store: Path) -> dict[str, Any]:
    """Returns the manifest of a store."""
    document: dict[str, Any] = json.loads((store / "zarr.json").read_text())
    return document["attributes"]


def queue(
    database: Database,
    settings: Settings,
    user: str,
    store: Path,
    *,
    name: str = "mine",
    manifest: dict[str, Any] | None = None,
    damage: Callable[[Path], None] | None = None,
    sheet: dict[str, Any] | None = None,
    copied: bool = True,
) -> str:
    """Queues a copy of a store, as a commit does; returns the id of the submission."""
    said = manifest_of(store) if manifest is None else manifest
    submission = Submission(
        id=new_id(),
        user_id=user,
        name=name,
        benchmark=said["benchmark"]["id"],
        version=said["benchmark"]["version"],
        digest=said["benchmark"]["digest"],
        context=said["context"],
        manifest=said,
        fact_sheet=sheet or {"name": name, "authors": ["x"], "future_stimulus": False},
        identity=new_id(),
        counted=now(),
    )
    target = Storage(settings).store(submission.id)
    if copied:
        shutil.copytree(store, target, symlinks=True)
    if damage is not None:
        damage(target)
    with database.write() as session:
        session.add(submission)
        session.flush()
        move(submission, State.queued)
        jobs.enqueue(session, "score", submission.id)
    return submission.id


def scored(store: Path, folder: Path) -> Path:
    """Scores a store here, and leaves what a scoring child leaves; returns the folder."""
    from zapeval.cli.score import run_score, save
    from zapeval.cli.selection import select_for

    folder.mkdir(parents=True)
    opened, chosen = select_for(str(store), None, None, None)
    card, tally = run_score(opened, chosen, quiet=True)
    save(card, tally, chosen.benchmark, folder / "scorecard.json")
    (folder / "findings.json").write_text("[]")
    (folder / "maps.json").write_text("null")
    return folder


def install_benchmark(folder: Path, name: str, module: str) -> None:
    """Installs a package below a folder of the module path, whose class Benchmark is registered."""
    info = folder / f"{name}-1.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        f"[zapeval.benchmarks]\n{name} = {name}_benchmark:Benchmark\n"
    )
    (folder / f"{name}_benchmark.py").write_text(module)
    sys.modules.pop(f"{name}_benchmark", None)
