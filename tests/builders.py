"""Builders: small benchmarks with recordings and predictions, stores in every layout, packages."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec

from zapeval.benchmarks.benchmark import Benchmark, Series
from zapeval.forecasting.manifest import BenchmarkPart, ForecasterPart, GridPart, Manifest
from zapeval.forecasting.predictions import Predictions, open_predictions
from zapeval.forecasting.writing import Dtype, PredictionsWriter
from zapeval.recordings.recording import Recordings, open_recording
from zapeval.scoring.score import score
from zapeval.scoring.scorecard import Scorecard
from zapeval.scoring.tally import Tally

CONTEXT = 4

_V3_CODECS = {
    "blosc": lambda: BloscCodec(cname="zstd"),
    "zstd": lambda: ZstdCodec(level=1),
    "gzip": lambda: GzipCodec(level=1),
    "crc32c": Crc32cCodec,
}
_V2_CODECS = {
    "blosc": lambda: numcodecs.Blosc(cname="lz4", shuffle=numcodecs.Blosc.BITSHUFFLE),
    "zstd": numcodecs.Zstd,
    "gzip": numcodecs.GZip,
    "zlib": numcodecs.Zlib,
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A benchmark with its recordings' activity and predictions for it.

    Attributes:
        benchmark: The benchmark.
        activity: Recording key to float32 ``[frames, neurons]``.
        values: Array name to predictions, float32 ``[windows, steps, neurons]``.
    """

    benchmark: Benchmark
    activity: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]

    def recordings(self, folder: Path) -> Recordings:
        """Writes the recordings as NumPy files, over those of an earlier call, and opens them."""
        folder.mkdir(parents=True, exist_ok=True)
        openers = {}
        for key, activity in self.activity.items():
            np.save(folder / f"{key}.npy", activity)
            openers[key] = lambda uri=str(folder / f"{key}.npy"): open_recording(uri)
        return Recordings(openers)

    def predictions(
        self,
        folder: Path,
        layout: StoreLayout | None = None,
        *,
        said: Manifest | None = None,
    ) -> Predictions:
        """Writes the predictions with zarr-python, by default as the public code does."""
        return write_store(folder, self.values, layout or PUBLIC, said)

    def ours(self, path: Path, dtype: Dtype = "float32") -> Predictions:
        """Writes the predictions as zapeval itself does."""
        writer = PredictionsWriter(path, manifest(self.benchmark), dtype)
        for series in self.benchmark.series:
            values = self.values[series.array]
            for start, stop in writer.todo(self.benchmark, series, values.shape[2]):
                writer.write(series, start, values[start:stop])
        writer.finish()
        return open_predictions(str(path))

    def score(self, folder: Path, **options: Any) -> tuple[Scorecard, Tally]:
        """Writes everything below a folder of its own and scores it."""
        number = sum(1 for _ in folder.glob("case-*"))
        place = folder / f"case-{number}"
        predictions = self.predictions(place / "predictions")
        recordings = self.recordings(place / "recordings")
        return score(predictions, self.benchmark, recordings, context=CONTEXT, **options)

    def with_values(self, **values: np.ndarray) -> Case:
        """Returns the case with other predictions of some arrays."""
        return replace(self, values={**self.values, **values})


@dataclass(frozen=True, kw_only=True)
class StoreLayout:
    """How zarr-python is to store an array.

    Attributes:
        zarr_format: 2 or 3.
        chunk: Shape of a chunk; None means that of the public ZAPBench code.
        shard: Shape of a shard (format 3), or None.
        codecs: Compressors in order; format 2 takes one at most.
        order: ``C`` or ``F``.
        keys: Chunk key encoding (format 3): ``default`` or ``v2``.
        separator: What stands between the numbers of a chunk key.
        dtype: Stored type.
    """

    zarr_format: int = 2
    chunk: tuple[int, ...] | None = None
    shard: tuple[int, ...] | None = None
    codecs: tuple[str, ...] = ()
    order: str = "C"
    keys: str = "default"
    separator: str = "."
    dtype: str = "float32"


PUBLIC = StoreLayout()
"""What the public ZAPBench code writes: a bare folder of uncompressed v2 arrays."""


def write_store(
    folder: Path,
    values: Mapping[str, np.ndarray],
    layout: StoreLayout = PUBLIC,
    said: Manifest | None = None,
) -> Predictions:
    """Writes arrays into a folder, which is a group only where a manifest is given."""
    folder.mkdir(parents=True)
    if said is not None:
        zarr.create_group(str(folder), attributes=said.to_attributes(), zarr_format=3)
    for name, array in values.items():
        write_zarr(folder / name, array.astype(layout.dtype), layout)
    return open_predictions(str(folder))


def write_zarr(path: Path, values: np.ndarray, layout: StoreLayout = PUBLIC) -> None:
    """Writes one array with zarr-python, every chunk of it."""
    chunk = layout.chunk or public_chunk(values.shape)
    keys = layout.keys if layout.zarr_format == 3 else "v2"
    options: dict[str, Any] = {
        "chunks": chunk,
        "zarr_format": layout.zarr_format,
        "chunk_key_encoding": {"name": keys, "separator": layout.separator},
        "compressors": _codecs(layout),
    }
    if layout.zarr_format == 2:
        options["order"] = layout.order
    elif layout.order == "F":
        options["filters"] = [TransposeCodec(order=tuple(reversed(range(values.ndim))))]
    if layout.shard is not None:
        options["shards"] = layout.shard
    array = zarr.create_array(
        store=str(path),
        shape=values.shape,
        dtype=values.dtype,
        fill_value=0,
        # A chunk of zeros is written like any other: zapeval takes an absent chunk for damage.
        config={"write_empty_chunks": True},
        **options,
    )
    array[...] = values


def public_chunk(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the chunk shape of the public ZAPBench code."""
    windows, _, *rest = shape
    return (min(windows, 32), 1, *(min(n, 16384) for n in rest))


def _codecs(layout: StoreLayout) -> Any:
    if not layout.codecs:
        return None
    if layout.zarr_format == 3:
        return [_V3_CODECS[name]() for name in layout.codecs]
    (name,) = layout.codecs
    return _V2_CODECS[name]()


def manifest(benchmark: Benchmark, *, grid: GridPart | None = None) -> Manifest:
    """Returns a manifest of predictions for a benchmark."""
    return Manifest(
        benchmark=BenchmarkPart(
            id=benchmark.id, version=benchmark.version, digest=benchmark.digest
        ),
        context=CONTEXT,
        forecaster=ForecasterPart(name="builder", version="1"),
        grid=grid,
    )


def targets_of(case: Case, series: Series) -> np.ndarray:
    """Returns the targets of a series by the index convention, ``[windows, steps, neurons]``."""
    activity = case.activity[series.recording]
    return np.stack([activity[o : o + case.benchmark.horizon] for o in series.origins])


def noisy_predictions(case: Case, rng: np.random.Generator, spread: float) -> Case:
    """Returns the case with predictions that resemble the targets."""
    values = {}
    for series in case.benchmark.series:
        targets = targets_of(case, series)
        noise = rng.normal(0, spread, targets.shape)
        values[series.array] = (targets + noise).astype(np.float32)
    return replace(case, values=values)


def horizon_case(
    *,
    seed: int = 0,
    neurons: int = 7,
    horizon: int = 5,
    windows: tuple[int, ...] = (9, 4, 11),
    mean: float = 0.1,
    spread: float = 0.3,
    held_out: tuple[int, ...] = (2,),
    groups: tuple[str, ...] = ("", "", ""),
    mask: tuple[bool, ...] | None = None,
) -> Case:
    """Returns one recording under the protocol ``horizon``, with a series a range of windows."""
    rng = np.random.default_rng(seed)
    series, start = [], CONTEXT
    for index, count in enumerate(windows):
        series.append(
            Series(
                name=f"condition {index}",
                array=f"test_condition_{index}",
                recording="fish",
                origins=tuple(range(start, start + count)),
                group=groups[index],
                held_out=index in held_out,
                mask=mask,
            )
        )
        start += count + horizon - 1 + CONTEXT
    benchmark = Benchmark(
        id="case",
        version=1,
        protocol="horizon",
        context_lengths=(CONTEXT,),
        max_context=CONTEXT,
        horizon=horizon,
        series=tuple(series),
        frames=(("fish", start),),
        summary_steps=(1, horizon),
    )
    activity = rng.normal(mean, spread, (start, neurons)).astype(np.float32)
    case = Case(benchmark=benchmark, activity={"fish": activity}, values={})
    return noisy_predictions(case, rng, spread / 2)


def worms_case(
    *,
    seed: int = 0,
    neurons: tuple[int, ...] = (6, 9, 4),
    positions: int = 8,
    windows: int = 5,
    masked: bool = True,
) -> Case:
    """Returns several animals under the protocol ``next-step``, each with its own neurons."""
    rng = np.random.default_rng(seed)
    frames = 1 + windows * positions
    series, activity = [], {}
    for index, count in enumerate(neurons):
        flags = rng.random(count) < 0.6
        flags[index % count] = True
        series.append(
            Series(
                name=f"worm {index}",
                array=f"worm_{index}",
                recording=f"worm-{index}",
                origins=tuple(range(1, frames, positions)),
                group="pair" if index < 2 else "",
                mask=tuple(bool(flag) for flag in flags) if masked else None,
            )
        )
        activity[f"worm-{index}"] = rng.normal(0, 1, (frames, count)).astype(np.float32)
    benchmark = Benchmark(
        id="worms",
        version=1,
        protocol="next-step",
        context_lengths=(CONTEXT,),
        max_context=CONTEXT,
        horizon=positions,
        series=tuple(series),
        frames=tuple((one.recording, frames) for one in series),
        primary="mse",
        summary_steps=(1,),
        sampled="series",
    )
    case = Case(benchmark=benchmark, activity=activity, values={})
    return noisy_predictions(case, rng, 0.5)


def distribution(
    site: Path,
    patch: pytest.MonkeyPatch,
    name: str,
    points: Mapping[str, Mapping[str, str]],
    code: str,
) -> None:
    """Installs a package with a module of its name, for as long as patch lasts.

    Args:
        site: Folder that becomes part of the import path.
        patch: Takes it out again.
        name: Name of the package and of its module.
        points: Entry point group to (name, target).
        code: Text of the module.
    """
    (site / f"{name}.py").write_text(code)
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = []
    for group, targets in points.items():
        lines += [f"[{group}]", *(f"{key} = {target}" for key, target in targets.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    if str(site) not in sys.path:
        patch.syspath_prepend(site)
    importlib.invalidate_caches()
    # A module of that name may be left from an earlier test.
    patch.delitem(sys.modules, name, raising=False)
