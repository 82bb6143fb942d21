"""``zapeval study``: what a video model's forecasts hang on, trained, scored and drawn."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zapeval.cli.console import Quiet, note, say
from zapeval.cli.forecasters import setting
from zapeval.cli.outputs import check_output
from zapeval.cli.selection import Data, select
from zapeval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from baselines.volumetric.studies.grid import Sizes
    from baselines.volumetric.studies.run import Ground, Outcome

app = typer.Typer(add_completion=False)


class Name(StrEnum):
    """A study."""

    context = "context"
    resolution = "resolution"
    pretraining = "pretraining"
    head = "head"
    loss = "loss"


class Size(StrEnum):
    """How large its models are."""

    small = "small"
    paper = "paper"


@app.command()
def study(
    name: Annotated[Name, typer.Argument(help="What is varied.")],
    benchmark: Annotated[
        str,
        typer.Option("--benchmark", "-b", metavar="ID|FILE.toml", help="What to forecast."),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where all of it goes; repeat to go on.")
    ],
    data: Data = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of every model; repeatable."),
    ] = None,
    size: Annotated[
        Size, typer.Option(help="Models and grid: small ones for a CPU, or the paper's.")
    ] = Size.small,
    contexts: Annotated[
        list[int] | None,
        typer.Option(
            *("--context", "-c"), metavar="N", help="Context length; several for the study of it."
        ),
    ] = None,
    spatial: Annotated[
        list[str] | None,
        typer.Option(metavar="S", help="S21, S64 or S256, for the study of context; repeatable."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How often each model is trained.")] = 3,
    windows: Annotated[
        str, typer.Option(metavar="1/N", help="Which test windows are scored: each N-th.")
    ] = "1/16",
    specimens: Annotated[
        list[str] | None,
        typer.Option(
            "--specimen",
            metavar="DIR|FILE.toml",
            help="Another specimen, for pretraining: its recording, or bounds; repeatable.",
        ),
    ] = None,
    references: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            metavar="NAME",
            help="What is shown beside; repeatable; persistence, least-squares and linear unless "
            "told.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL", help="A cell to train, e.g. trace; repeatable; else all."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Train, forecast and score a grid of video models; a table and a figure. Repeat to go on."""
    from baselines.volumetric.studies.companions import companions_of
    from baselines.volumetric.studies.grid import REFERENCES, labels_in, study_of
    from baselines.volumetric.studies.run import Ground, run
    from baselines.volumetric.studies.windows import share_of
    from zapeval.reports.figures.look import require

    check_output(out, "folder")
    require("matplotlib")
    if specimens and name is not Name.pretraining:
        raise UsageError(f"--specimen: is for the study pretraining, not {name}; leave it out")
    chosen = select(benchmark, (contexts or [4])[0], data)
    sizes = _sizes(name, size, contexts or (), spatial or ())
    share = share_of(windows)
    others: tuple[str, ...] = ()
    if name is Name.pretraining:
        others = companions_of(chosen.benchmark, specimens or ())
    asked = study_of(
        name,
        sizes,
        dict(map(setting, settings or ())),
        others=others,
        references=tuple(dict.fromkeys(references or REFERENCES)),
    )
    ground = Ground(
        study=asked,
        whole=chosen.benchmark,
        recordings=chosen.recordings,
        every=share,
        only=labels_in(asked, only or ()),
    )
    if not quiet:
        asked_for = [c for c in asked.cells if c.reference or not only or c.label in only]
        count = sum(1 if cell.reference else seeds for cell in asked_for)
        cells = f"{len(asked_for)} cells, trained and scored {count} times in all"
        note(f"study {name}: {cells}; what is there already is not done again")
    outcomes = run(
        ground, out, seeds=seeds, quiet=quiet, after=lambda some: _tables(ground, some, out)
    )
    paths = _figure(ground, outcomes, out)
    if not quiet:
        say((out / "table.md").read_text(encoding="utf-8").rstrip("\n"))
        note(f"{out / 'table.csv'}, {', '.join(map(str, paths))}: written")


def _sizes(name: Name, size: Size, contexts: Sequence[int], spatial: Sequence[str]) -> Sizes:
    """Returns the sizes that options ask for."""
    from baselines.volumetric.studies.grid import SIZES

    sizes = SIZES[size.value]
    if name is Name.context:
        return replace(
            sizes,
            contexts=tuple(dict.fromkeys(contexts)) or sizes.contexts,
            spatial=tuple(dict.fromkeys(spatial)) or sizes.spatial,
        )
    if spatial or len(contexts) > 1:
        what = "--spatial" if spatial else "several context lengths"
        raise UsageError(f"{what}: only for the study of context, not {name}")
    return replace(sizes, context=contexts[0]) if contexts else sizes


def _tables(ground: Ground, outcomes: Sequence[Outcome], folder: Path) -> None:
    from baselines.volumetric.studies.table import as_csv, as_markdown
    from zapeval.recordings.writer import files_into

    steps = ground.whole.summary_steps
    text = as_markdown(outcomes, steps, ground.study.axis)
    with files_into(folder) as partial:
        (partial / "table.csv").write_text(as_csv(outcomes, steps), encoding="utf-8")
        (partial / "table.md").write_text(text, encoding="utf-8")


def _figure(ground: Ground, outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    from baselines.volumetric.studies.figure import draw

    title = f"{ground.study.name} on {ground.scored.label}"
    return draw(outcomes, folder, ground.study, title=title)
