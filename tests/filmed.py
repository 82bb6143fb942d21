"""A public bucket's video, small: frames last, at three resolutions, and labels at the finest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from builders import StoreLayout, write_zarr

from zapeval.benchmarks.zapbench import PUBLIC_VIDEO, PUBLISHED, VOLUMES
from zapeval.recordings.mirror import Item

FRAMES, NEURONS = 36, 9
FULL = (40, 32, 2)
KEPT = (32, 24, 2)
START = (4, 4, 0)
CHUNK = (16, 16, 2, 1)

PUBLIC = replace(PUBLIC_VIDEO, kept=KEPT)
FEATURES = StoreLayout(zarr_format=2, chunk=(FRAMES, 26))
ITEMS = (Item(source=f"{VOLUMES}/traces", target="traces"),)


def labels() -> np.ndarray:
    """Returns the segmentation, uint32 ``[x, y, z]``: nine columns, of which eight are kept."""
    found = np.zeros(FULL, np.uint32)
    for neuron in range(8):
        x, y = 4 + 8 * (neuron % 4), 4 + 12 * (neuron // 4)
        found[x : x + 7, y : y + 11, :] = neuron + 1
    found[:3, :3] = 9
    return found


def video() -> np.ndarray:
    """Returns the video at the finest resolution, float32 ``[x, y, z, frames]``."""
    rng = np.random.default_rng(5)
    time, x = np.arange(FRAMES), np.arange(FULL[0])[:, None]
    waves = 0.3 * np.sin(time / 3 - x / 7)[:, None, None]
    return (waves + rng.normal(0, 0.05, (*FULL, FRAMES))).astype(np.float32)


def coarse(frames: np.ndarray, factor: int) -> np.ndarray:
    """Returns averages over squares in x and y, ``[x, y, z, frames]``, voxel by voxel."""
    x, y, z, count = frames.shape
    found = np.empty((x // factor, y // factor, z, count), np.float32)
    for i, j in np.ndindex(*found.shape[:2]):
        square = frames[i * factor : (i + 1) * factor, j * factor : (j + 1) * factor]
        found[i, j] = square.astype(np.float64).mean(axis=(0, 1))
    return found


def expected(factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns what a copy holds: ``[frames, x, y, z]`` and labels ``[x, y, z]``."""
    inside = tuple(slice(s, s + n) for s, n in zip(START, KEPT, strict=True))
    frames = np.moveaxis(coarse(video()[inside], factor), 3, 0)
    middle = slice(factor // 2, None, factor)
    return frames, labels()[inside][middle, middle]


def traces() -> np.ndarray:
    """Returns means over each neuron's voxels, float32 ``[frames, neurons]``."""
    frames, found = video(), labels()
    means = [frames[found == n + 1].mean(axis=0) for n in range(NEURONS)]
    return np.stack(means, axis=1).astype(np.float32)


def write_bucket(folder: Path, levels: tuple[int, ...] = (1, 2, 4), **layout: object) -> Path:
    """Writes what the public bucket holds of a recording with video; returns the folder."""
    (folder / PUBLISHED).parent.mkdir(parents=True)
    (folder / PUBLISHED).write_text('"{}"')
    (folder / VOLUMES / "df_over_f_xyz_chunked").mkdir(parents=True)
    chunk = StoreLayout(zarr_format=3, chunk=(16, 4), separator="/")
    write_zarr(folder / VOLUMES / "traces", traces(), chunk)
    chunk = StoreLayout(zarr_format=3, chunk=CHUNK[:3], separator="/")
    write_zarr(folder / PUBLIC.segmentation, labels(), chunk)
    (folder / PUBLIC.segmentation / "dataframe.json").write_text("{}")
    write_zarr(folder / VOLUMES / "stimuli_features", np.ones((FRAMES, 26), np.float32), FEATURES)
    for level in levels:
        options = {"zarr_format": 3, "chunk": CHUNK, "separator": "/"} | layout
        store = StoreLayout(**options)
        write_zarr(folder / PUBLIC.levels[level], coarse(video(), level), store)
    return folder
