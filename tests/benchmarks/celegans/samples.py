"""Samples: a small file in each source's format, made from the fields that it is known by."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.io import savemat

from zapeval.benchmarks.celegans.names import NAMES as SLOT_NAMES

NAMES = ("AVAL", "AVAR", "RIML", "DA01", "VB10")
"""Labels of a sample worm; DA01 stands for DA1."""

LABELLED = ("AVAL", "AVAR", "DA1", "RIML", "VB10")
"""The canonical names that they stand for, in the order of slots."""

FRAMES, INTERVAL = 1000, 0.5
_NUMBERS = count()


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A worm before it is written."""

    traces: np.ndarray
    seconds: np.ndarray
    labels: tuple[Any, ...] = NAMES


def sample(seed: int = 0, frames: int = FRAMES, labels: Sequence[Any] = NAMES) -> Sample:
    """Returns a worm whose frames resemble each other, at times that are not quite even."""
    rng = np.random.default_rng(seed)
    traces = 100 + rng.normal(size=(frames, len(labels))).cumsum(axis=0)
    seconds = 3.0 + np.arange(frames) * INTERVAL + rng.uniform(0, 0.1, frames)
    return Sample(traces=traces, seconds=seconds, labels=tuple(labels))


def cell(items: Sequence[Any]) -> np.ndarray:
    """Returns a MATLAB cell array of one row."""
    array = np.empty((1, len(items)), object)
    for index, item in enumerate(items):
        array[0, index] = np.zeros((0, 0)) if item is None else item
    return array


def write_mat5(path: Path, variables: Mapping[str, Any]) -> None:
    """Writes a MATLAB file of version 5; lists become cell arrays."""

    def held(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: held(item) for name, item in value.items()}
        return cell([held(item) for item in value]) if isinstance(value, list) else value

    savemat(path, {name: held(value) for name, value in variables.items()})


def write_mat73(path: Path, variables: Mapping[str, Any]) -> None:
    """Writes a MATLAB file of version 7.3, as MATLAB lays it out."""
    with h5py.File(path, "w", userblock_size=512) as file:
        references = file.create_group("#refs#")
        for name, value in variables.items():
            _put(file, name, value, references)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def _put(parent: h5py.Group, name: str, value: Any, references: h5py.Group) -> h5py.HLObject:
    if isinstance(value, dict):
        group = parent.create_group(name)
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        for key, item in value.items():
            _put(group, key, item, references)
        return group
    if isinstance(value, list):
        made = [_put(references, f"r{next(_NUMBERS)}", item, references) for item in value]
        data = np.array([item.ref for item in made], dtype=h5py.ref_dtype).reshape(-1, 1)
        dataset = parent.create_dataset(name, data=data, dtype=h5py.ref_dtype)
        dataset.attrs["MATLAB_class"] = np.bytes_("cell")
    elif value is None:
        dataset = parent.create_dataset(name, data=np.zeros(2, np.uint64))
        dataset.attrs["MATLAB_class"], dataset.attrs["MATLAB_empty"] = np.bytes_("double"), 1
    elif isinstance(value, str):
        codes = np.array([[ord(mark)] for mark in value], np.uint16)
        dataset = parent.create_dataset(name, data=codes)
        dataset.attrs["MATLAB_class"] = np.bytes_("char")
    else:
        dataset = parent.create_dataset(name, data=np.atleast_2d(value).T)
        dataset.attrs["MATLAB_class"] = np.bytes_("double")
    return dataset


WRITERS = {"5": write_mat5, "7.3": write_mat73}
"""By version of the format."""


def write_struct(
    path: Path,
    worms: Sequence[Sample],
    *,
    key: str,
    fields: tuple[str, str, str] = ("IDs", "traces", "timeVectorSeconds"),
    version: str = "7.3",
) -> Path:
    """Writes a file of one struct of lists over worms."""
    labels, traces, seconds = fields
    struct = {
        labels: [list(worm.labels) for worm in worms],
        traces: [worm.traces for worm in worms],
        seconds: [worm.seconds[:, None] for worm in worms],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    WRITERS[version](path, {key: struct})
    return path


def write_yemini(path: Path, worms: Sequence[Sample], version: str = "5") -> Path:
    """Writes Yemini2021: AVA and RIM in pairs, the other neurons alone."""
    cells: dict[str, Any] = {"neurons": [], "is_L": [], "norm_traces": []}
    empty = np.full(len(worms), np.nan)
    for neuron, left, right in (("AVA", 0, 1), ("RIM", 2, None)):
        of_right = [None if right is None else worm.traces[:, [right]] for worm in worms]
        cells["neurons"].append(neuron)
        cells["is_L"].append(np.array([[1.0] * len(worms), [0.0] * len(worms)]).reshape(-1, 1))
        cells["norm_traces"].append([worm.traces[:, [left]] for worm in worms] + of_right)
    for neuron, column in (("DA01", 3), ("VB10", 4)):
        cells["neurons"].append(neuron)
        cells["is_L"].append(empty[:, None])
        cells["norm_traces"].append([worm.traces[:, [column]] for worm in worms])
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [f"worm{number}" for number in range(len(worms))]
    WRITERS[version](path, {**cells, "files": files, "fps": np.array([[1 / INTERVAL]])})
    return path


def write_flavell_json(path: Path, worm: Sample) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    labeled = {
        str(number): {"label": label, "confidence": 4}
        for number, label in enumerate(worm.labels, start=1)
        if label is not None
    }
    document = {
        "timestamp_confocal": worm.seconds.tolist(),
        "trace_array": worm.traces.T.tolist(),
        "labeled": labeled,
    }
    path.write_text(json.dumps(document))
    return path


def write_flavell_h5(path: Path, worm: Sample) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["timestamp_confocal"] = worm.seconds
        file["trace_array"] = worm.traces
        file.create_dataset("neuropal_label", data=[str(label) for label in worm.labels])
    return path


def write_pair(folder: Path, worm: Sample) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = zip(worm.seconds.tolist(), worm.traces.tolist(), strict=True)
    (folder / "time_trace.json").write_text(json.dumps([[t, row] for t, row in rows]))
    (folder / "neurons.json").write_text(json.dumps([*worm.labels, "ADFL", "ADFR"]))
    return folder


def write_leifer(folder: Path, number: int, worm: Sample) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / f"{number}_gcamp.txt", worm.traces, fmt="%.18e")
    np.savetxt(folder / f"{number}_t.txt", worm.seconds, fmt="%.18e")
    (folder / f"{number}_labels.txt").write_text(
        "".join(f"{label or ''}\n" for label in worm.labels)
    )
    return folder


def write_csv(path: Path, worm: Sample) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(("seconds", *(str(label) for label in worm.labels)))]
    for time, row in zip(worm.seconds, worm.traces, strict=True):
        cells = ("" if np.isnan(value) else repr(float(value)) for value in row)
        lines.append(",".join((repr(float(time)), *cells)))
    path.write_text("\n".join(lines) + "\n")
    return path


def write_npz(path: Path, worm: Sample) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = np.array([str(label) for label in worm.labels])
    np.savez(path, activity=worm.traces, seconds=worm.seconds, names=names)
    return path


def write_export(
    path: Path,
    worms: Mapping[tuple[str, str], Sample],
    *,
    slots: Sequence[str],
    rows_a_group: int = 4,
    half: bool = False,
) -> Path:
    """Writes the parquet export: one row a worm and neuron, one of them unlabelled."""
    rows: list[dict[str, Any]] = []
    number = np.float16 if half else np.float64
    for (source, name), worm in worms.items():
        seconds = worm.seconds - worm.seconds[0]
        steps = np.diff(seconds, prepend=0.0)
        for column, label in enumerate((*worm.labels, None)):
            values = worm.traces[:, column] if label else worm.traces[:, 0] * 3
            slot = slots.index(label) if label else 0
            rows.append(
                {
                    "source_dataset": source,
                    "raw_data_file": f"{source}.mat",
                    "worm": name,
                    "neuron": label or "7",
                    "slot": slot,
                    "is_labeled_neuron": label is not None,
                    "is_unlabeled_neuron": label is None,
                    "original_calcium_data": values.astype(number),
                    "original_time_in_seconds": seconds.astype(number),
                    "original_dt": steps.astype(number),
                    "dt": [0.333] * 3,
                    "median_dt": 0.333,
                }
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=rows_a_group)
    return path


def write_nwb(
    path: Path, worm: Sample, *, column: str | None = "ID_labels", rate: float | None = None
) -> Path:
    """Writes an NWB file with a reference channel beside the signal, as the field does."""
    from pynwb import NWBHDF5IO, NWBFile
    from pynwb.ophys import (
        Fluorescence,
        ImageSegmentation,
        OpticalChannel,
    )

    file = NWBFile(
        session_description="a worm",
        identifier="worm",
        session_start_time=datetime(2020, 1, 1, tzinfo=UTC),
    )
    channel = OpticalChannel(name="green", description="green", emission_lambda=510.0)
    plane = file.create_imaging_plane(
        name="volume",
        optical_channel=channel,
        description="head",
        device=file.create_device(name="microscope"),
        excitation_lambda=488.0,
        indicator="GCaMP6s",
        location="head",
    )
    segmentation = ImageSegmentation()
    table = segmentation.create_plane_segmentation(
        name="neurons", description="neurons", imaging_plane=plane
    )
    for _ in worm.labels:
        table.add_roi(pixel_mask=[(0, 0, 1.0)])
    if column:
        table.add_column(name=column, description="names", data=[x or "" for x in worm.labels])
    module = file.create_processing_module(name="CalciumActivity", description="activity")
    module.add(segmentation)
    order = list(reversed(range(len(worm.labels))))
    time = {"rate": rate} if rate else {"timestamps": worm.seconds}
    for name, values in (("Signal", worm.traces[:, order]), ("Reference", worm.traces * 0 + 1)):
        region = table.create_roi_table_region(region=order, description="all")
        held = Fluorescence(name=f"{name}RawFluor")
        module.add(held)
        held.create_roi_response_series(
            name=f"{name}CalciumImResponseSeries", data=values, rois=region, unit="lumens", **time
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with NWBHDF5IO(str(path), "w") as storage:
        storage.write(file)
    return path


def write_all(folder):
    """Writes a worm, or two, in each format; returns their number."""
    labels = ("AVAL", "RIML", "VB10")
    write_struct(folder / "kato" / "WT_Stim.mat", [sample(0)], key="WT_Stim", version="5")
    write_struct(folder / "nichols" / "n2_let.mat", [sample(1), sample(2)], key="n2_let")
    write_struct(folder / "skora" / "WT_fasted.mat", [sample(3)], key="WT_fasted")
    write_struct(
        folder / "kaplan" / "Neuron2019_Data_RIShisCl.mat",
        [sample(4)],
        key="RIShisCl_Neuron2019",
        fields=("neuron_ID", "traces_bleach_corrected", "time_vector"),
    )
    write_yemini(folder / "yemini" / "Head_Activity_OH15500.mat", [sample(5)])
    write_struct(
        folder / "uzel" / "Uzel_WT.mat",
        [sample(6)],
        key="Uzel_WT",
        fields=("IDs", "traces", "tv"),
    )
    write_flavell_json(folder / "flavell" / "one.json", sample(7))
    write_flavell_h5(folder / "flavell" / "two.h5", sample(8))
    write_pair(folder / "flavell" / "three", sample(9, 1000, ["AVAL", "RIH"]))
    write_leifer(folder / "leifer", 0, sample(10))
    write_export(
        folder / "export" / "e.parquet",
        {("Lin2023", "worm0"): sample(11, 1000, labels)},
        slots=SLOT_NAMES,
    )
    write_nwb(folder / "nwb" / "sub-1.nwb", sample(12))
    write_csv(folder / "mine" / "a.csv", sample(13))
    write_npz(folder / "mine" / "b.npz", sample(14))
    return 15
