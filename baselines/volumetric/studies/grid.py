"""The grid of a study: which cells it lays side by side.

Source: Immer et al. 2025 (arXiv 2503.00073); each function names what it asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from baselines.volumetric.configuration import NAMED
from baselines.volumetric.crops import RESOLUTIONS
from zapeval.errors import NotFound, UsageError

MODEL = "volumetric-unet"

REFERENCES = ("persistence", "least-squares", "linear")
"""What a study is compared with unless it is told, on the same windows and neurons."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What is trained and scored together, once a seed.

    Attributes:
        label: Its name in tables and folders.
        line: What it is drawn in one line with.
        place: Where it stands along the line.
        forecaster: Name of the forecaster.
        settings: What the forecaster is made with.
        context: Context length in frames.
        reference: Whether it is no part of the question; references are trained with one seed.
    """

    label: str
    line: str
    place: str
    forecaster: str = MODEL
    settings: Mapping[str, Any]
    context: int
    reference: bool = False


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large the models of a study are, and how far its grid reaches.

    Attributes:
        settings: Settings of all cells, where a study doesn't vary them.
        finer: Further ones where models forecast at a finer resolution than they see.
        spatial: Spatial contexts that ``context`` varies, by the paper's names.
        contexts: Context lengths that it varies, in frames.
        context: Context length of the other studies.
    """

    settings: Mapping[str, Any]
    finer: Mapping[str, Any] = field(default_factory=dict)
    spatial: tuple[str, ...]
    contexts: tuple[int, ...]
    context: int = 4


SMALL = Sizes(
    settings={
        **{"levels": 2, "features": 16, "groups": 4, "resolution": 1},
        **{"steps": 4000, "rate": 0.002, "validate_every": 250, "validation": 64},
    },
    finer={"upsampled_features": 16},
    spatial=("S21", "S64"),
    contexts=(1, 4, 16),
)
"""What two CPU cores do with an embedded benchmark within about an hour."""

PAPER = Sizes(settings={}, spatial=("S21", "S64", "S256"), contexts=(1, 4, 16, 64, 256))
"""The paper's, which are also the forecaster's defaults; they need accelerators."""

SIZES = {"small": SMALL, "paper": PAPER}


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question, and the cells that answer it.

    Attributes:
        name: What users type.
        axis: What stands along the lines of its figure.
        varied: Settings that differ between its cells.
        cells: The cells.
        ordered: Whether what it varies has an order, so that lines may lead from cell to cell.
    """

    name: str
    axis: str
    varied: tuple[str, ...]
    cells: tuple[Cell, ...]
    ordered: bool = True


def study_of(
    name: str,
    sizes: Sizes = SMALL,
    changes: Mapping[str, Any] | None = None,
    *,
    others: Sequence[str] = (),
    references: Sequence[str] = REFERENCES,
) -> Study:
    """Returns a study, its references included.

    Args:
        name: ``context``, ``resolution``, ``pretraining``, ``head`` or ``loss``.
        sizes: How large its models are, and how far its grid reaches.
        changes: Settings of every cell that differ from the sizes'.
        others: Recordings of other specimens, which ``pretraining`` lets join one by one.
        references: Forecasters to compare with, as they are by default.

    Raises:
        NotFound: There is no such study.
        UsageError: A change is of what the study itself varies, or it lacks another specimen.
    """
    if name not in STUDIES:
        raise NotFound(f"study {name!r}: unknown; known are {', '.join(STUDIES)}")
    study = STUDIES[name](sizes, others)
    changes = changes or {}
    taken = [change for change in changes if change in study.varied]
    if taken:
        raise UsageError(f"study {name}: varies {taken[0]} itself; leave --set {taken[0]} out")
    cells = tuple(replace(c, settings={**c.settings, **changes}) for c in study.cells)
    return replace(study, cells=(*_references(references, cells), *cells))


def labels_in(study: Study, labels: Sequence[str]) -> tuple[str, ...]:
    """Returns labels of cells of a study, each once.

    Raises:
        NotFound: It has no cell of a label.
    """
    known = [cell.label for cell in study.cells if not cell.reference]
    for label in labels:
        if label not in known:
            raise NotFound(f"study {study.name}: has no cell {label!r}; has {', '.join(known)}")
    return tuple(dict.fromkeys(labels))


def context(sizes: Sizes, others: Sequence[str]) -> Study:
    """Asks how far a model should see, in space and back in time (section 5: trade-offs)."""
    del others
    cells = [
        _cell(sizes, f"{spatial}-C{frames}", f"{frames}", {"levels": _levels(spatial)}, spatial)
        for spatial in sizes.spatial
        for frames in sizes.contexts
    ]
    lengths = [frames for _ in sizes.spatial for frames in sizes.contexts]
    set_ = (replace(cell, context=n) for cell, n in zip(cells, lengths, strict=True))
    return Study(name="context", axis="context (frames)", varied=("levels",), cells=tuple(set_))


def resolution(sizes: Sizes, others: Sequence[str]) -> Study:
    """Asks how finely a model should see the video; all forecast at the video's resolution."""
    del others
    fine = {**sizes.finer, "full_resolution": True}
    cells = [_cell(sizes, f"input-{n}x", f"{n}x", {**fine, "resolution": n}) for n in RESOLUTIONS]
    varied = ("resolution", "full_resolution")
    return Study(name="resolution", axis="input coarser by", varied=varied, cells=tuple(cells))


def pretraining(sizes: Sizes, others: Sequence[str]) -> Study:
    """Asks whether frames of other specimens help; they join the training frames alone."""
    if not others:
        raise UsageError("study pretraining: needs another specimen to train on; give one or more")
    cells = [
        _cell(sizes, f"others-{n}", f"{n}", {"others": list(others[:n])})
        for n in range(len(others) + 1)
    ]
    varied = ("others",)
    return Study(name="pretraining", axis="other specimens", varied=varied, cells=tuple(cells))


def head(sizes: Sizes, others: Sequence[str]) -> Study:
    """Asks how a horizon is best forecast: at a lead time, all at once, or step by step."""
    del others
    heads = ("lead-time", "direct", "autoregression")
    cells = [_cell(sizes, name, name, {"head": name}) for name in heads]
    varied = ("head",)
    return Study(name="head", axis="head", varied=varied, cells=tuple(cells), ordered=False)


def loss(sizes: Sizes, others: Sequence[str]) -> Study:
    """Asks what to train on: errors of traces, of voxels, or histograms of voxels."""
    del others
    heads = {"trace": "lead-time", "voxel": "lead-time", "hl-gauss": "hl-gauss"}
    cells = [_cell(sizes, n, n, {"loss": n, "head": of}) for n, of in heads.items()]
    varied = ("loss", "head")
    return Study(name="loss", axis="loss", varied=varied, cells=tuple(cells), ordered=False)


STUDIES: dict[str, Callable[[Sizes, Sequence[str]], Study]] = {
    "context": context,
    "resolution": resolution,
    "pretraining": pretraining,
    "head": head,
    "loss": loss,
}


def _cell(
    sizes: Sizes, label: str, place: str, settings: Mapping[str, Any], line: str = MODEL
) -> Cell:
    own = {**sizes.settings, **settings}
    return Cell(label=label, line=line, place=place, settings=own, context=sizes.context)


def _references(names: Sequence[str], cells: Iterable[Cell]) -> list[Cell]:
    """Returns the references at each context length of a study; place "" where there is one."""
    found = dict.fromkeys((cell.context, cell.place) for cell in cells)
    lengths = dict.fromkeys(context for context, _ in found)
    return [
        Cell(
            label=f"{name}-C{context}",
            line=name,
            place=f"{context}" if len(lengths) > 1 else "",
            forecaster=name,
            settings={},
            context=context,
            reference=True,
        )
        for name in names
        for context in lengths
    ]


def _levels(spatial: str) -> int:
    if spatial not in NAMED:
        raise NotFound(f"spatial context {spatial!r}: unknown; known are {', '.join(NAMED)}")
    return NAMED[spatial]
