"""``zapeval scale``: measure how the loss of worm models falls with data and with size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zapeval.cli.console import Quiet, note, say, steps
from zapeval.cli.forecasters import make_forecaster, setting
from zapeval.cli.outputs import check_output
from zapeval.cli.selection import Data, select
from zapeval.errors import NotFound, UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from baselines.worms.scaling.cells import Document
    from baselines.worms.scaling.run import Entrant, Experiment, Row

GROWING = "worm-feedforward,worm-ctrnn,worm-lstm,worm-transformer,worm-attention"
MODELS = f"worm-linear,{GROWING}"

AT_ONCE = 8
"""Seeds that an accelerator trains at once; a processor has enough to do with one."""

app = typer.Typer(
    help="Measure how the loss of worm models falls with data and with size.",
    add_completion=False,
    no_args_is_help=True,
)

Benchmark = Annotated[
    str, typer.Option("--benchmark", "-b", metavar="ID", help="Worms to learn from: next steps.")
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where everything goes.")]
Models = Annotated[str, typer.Option("--models", metavar="NAME,..", help="Worm models.")]
Seeds = Annotated[int, typer.Option("--seeds", min=1, help="How many times, each with its seed.")]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="[MODEL:]KEY=VALUE",
        help="A setting of every model, or of one; repeatable.",
    ),
]
Together = Annotated[
    int | None,
    typer.Option(
        "--together",
        min=1,
        help=f"Seeds trained at once; default: {AT_ONCE} on an accelerator, else 1.",
    ),
]
Generate = Annotated[
    int,
    typer.Option(
        "--generate", min=0, metavar="WORMS", help="Let seed 0 generate 180 frames of some worms."
    ),
]


@app.command("data")
def data_(
    benchmark: Benchmark,
    out: Out,
    models: Models = MODELS,
    seeds: Seeds = 3,
    sizes: Annotated[
        str | None,
        typer.Option("--sizes", metavar="WORMS,..", help="Worms to learn from; default: 20 sizes."),
    ] = None,
    parameters: Annotated[
        int | None,
        typer.Option(min=1, help="Widths by which every model has about so many that learn."),
    ] = None,
    settings: Sets = None,
    data: Data = None,
    together: Together = None,
    generate: Generate = 0,
    quiet: Quiet = False,
) -> None:
    """Train on growing mixtures of worms, and measure on the whole validation set.

    Mixtures are drawn without replacement. Repeat an interrupted command to go on: what is
    finished is not done again. The loss is of the validation half, by which the epoch is chosen,
    as in the paper.
    """
    experiment = _experiment(benchmark, data, out, together, generate)
    many = _numbers("--sizes", sizes) or experiment.pool.sizes
    rows: list[Row] = []
    for entrant in _entrants(models, settings or ()):
        hidden = None if parameters is None else _widths(experiment, entrant, (parameters,))[0]
        for size in many:
            experiment.pool.drawn(size, 0)
            cells = [experiment.cell(entrant, hidden, size, seed) for seed in range(seeds)]
            rows += [(entrant, cell) for cell in cells]
    _run(experiment, rows, "data", quiet)


@app.command("model")
def model_(
    benchmark: Benchmark,
    out: Out,
    models: Models = GROWING,
    seeds: Seeds = 3,
    sizes: Annotated[
        str | None,
        typer.Option("--sizes", metavar="WIDTH,..", help="Widths; default: 20, of 8 to 4096."),
    ] = None,
    parameters: Annotated[
        str | None,
        typer.Option(
            metavar="COUNT,..", help="In place of widths: about so many that learn, in every model."
        ),
    ] = None,
    worms: Annotated[
        int | None, typer.Option(min=1, help="Worms to learn from; default: all.")
    ] = None,
    settings: Sets = None,
    data: Data = None,
    together: Together = None,
    generate: Generate = 0,
    quiet: Quiet = False,
) -> None:
    """Train models of growing width, and measure on the whole validation set.

    Repeat an interrupted command to go on: what is finished is not done again. The loss is of the
    validation half, by which the epoch is chosen, as in the paper.
    """
    from baselines.worms.scaling.pool import WIDTHS

    if sizes and parameters:
        raise UsageError("--sizes and --parameters both say how large the models are; give one")
    experiment = _experiment(benchmark, data, out, together, generate)
    size = worms or len(experiment.pool)
    experiment.pool.drawn(size, 0)
    rows: list[Row] = []
    for entrant in _entrants(models, settings or ()):
        wanted = _numbers("--parameters", parameters)
        many = _widths(experiment, entrant, wanted) if wanted else _numbers("--sizes", sizes)
        for hidden in many or WIDTHS:
            cells = [experiment.cell(entrant, hidden, size, seed) for seed in range(seeds)]
            rows += [(entrant, cell) for cell in cells]
    _run(experiment, rows, "model", quiet)


@app.command()
def draw(
    kind: Annotated[str, typer.Argument(metavar="data|model")],
    folders: Annotated[list[Path], typer.Argument(metavar="DIR..")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the figures go.")],
    quiet: Quiet = False,
) -> None:
    """Draw the figures of several experiments side by side, as far as they are finished."""
    if kind not in ("data", "model"):
        raise UsageError(f"{kind!r}: expected data or model")
    check_output(out, "folder")
    sets = {folder.name: _finished(folder) for folder in folders}
    if len(sets) < len(folders):
        raise UsageError("experiments are told apart by the names of their folders; rename one")
    _draw(kind, sets, out, quiet)


def _experiment(
    benchmark: str, data: str | None, out: Path, together: int | None, generate: int
) -> Experiment:
    import jax

    from baselines.worms.scaling.pool import Pool
    from baselines.worms.scaling.run import Experiment
    from zapeval.forecasting.training import training_of

    check_output(out, "folder")
    chosen = select(benchmark, None, data)
    training = training_of(
        chosen.benchmark,
        chosen.recordings,
        context=chosen.context,
        seed=0,
        folder=out,
        record=out,
        leaks=True,
    )
    pool = Pool(benchmark=chosen.benchmark, recordings=chosen.recordings, training=training)
    at_once = together or (1 if jax.default_backend() == "cpu" else AT_ONCE)
    return Experiment(pool=pool, make=_make, folder=out, together=at_once, generate=generate)


def _make(name: str, settings: Mapping[str, Any]) -> Any:
    """Returns a new worm model.

    Raises:
        NotFound: Nothing has that name.
        UsageError: It is no worm model, or takes no such setting.
    """
    import json

    from baselines.worms.forecasters import WormForecaster
    from zapeval.registry import FORECASTERS, find

    found = find(FORECASTERS, name)
    if not (isinstance(found, type) and issubclass(found, WormForecaster)):
        raise UsageError(f"{name}: is no worm model; scaling takes those of worms")
    return make_forecaster(name, [f"{key}={json.dumps(value)}" for key, value in settings.items()])


def _entrants(models: str, settings: Sequence[str]) -> list[Entrant]:
    """Returns the models with their settings; those of one model go before those of all."""
    from baselines.worms.scaling.run import Entrant

    names = list(dict.fromkeys(name for name in models.split(",") if name))
    if not names:
        raise UsageError("--models: names none")
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    own = [text.partition(":") for text in settings if ":" in text.partition("=")[0]]
    for name, _, _ in own:
        if name not in found:
            raise UsageError(f"--set {name}:..: is none of --models {models}")
    for text in settings:
        if ":" not in text.partition("=")[0]:
            key, value = setting(text)
            for every in found.values():
                every[key] = value
    for name, _, text in own:
        key, value = setting(text)
        found[name][key] = value
    return [Entrant(name=name, settings=kept) for name, kept in found.items()]


def _widths(experiment: Experiment, entrant: Entrant, wanted: Sequence[int]) -> list[int | None]:
    """Returns the widths of a model that come nearest to some numbers of parameters."""
    from baselines.worms.scaling.matching import width_for

    made = experiment.model(entrant, None)
    if made.width is None:
        return [None]
    neurons = experiment.pool.training.series[0].neurons
    return [width_for(made.core, count, neurons) for count in wanted]


def _numbers(option: str, text: str | None) -> tuple[int, ...]:
    """Returns numbers above 0 that commas part, smallest first.

    Raises:
        UsageError: They are none.
    """
    if text is None:
        return ()
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError as error:
        raise UsageError(f"{option} {text}: expected numbers, such as 10,20,40") from error
    if found[0] < 1:
        raise UsageError(f"{option} {text}: expected numbers above 0")
    return tuple(found)


def _run(experiment: Experiment, rows: Sequence[Row], kind: str, quiet: bool) -> None:
    from baselines.worms.scaling.run import run

    told: Callable[[str], None] = (lambda text: None) if quiet else note
    with steps("scaling", quiet=quiet) as report:
        run(experiment, rows, report=report, note=told)
    label = experiment.pool.benchmark.id
    _write(kind, {label: _finished(experiment.folder)}, experiment.folder, quiet)


def _finished(folder: Path) -> list[Document]:
    """Returns the finished cells of an experiment.

    Raises:
        NotFound: There is none.
    """
    from baselines.worms.scaling.cells import FOLDER, read

    paths = sorted((folder / FOLDER).glob("*.json"))
    if not paths:
        raise NotFound(f"{folder}: holds no finished cell of an experiment")
    return [read(path) for path in paths]


def _write(kind: str, sets: Mapping[str, Sequence[Document]], out: Path, quiet: bool) -> None:
    """Writes tables and figures, and says the laws."""
    from baselines.worms.scaling import table

    (documents,) = sets.values()
    rows = table.rows_of(documents)
    of = "train_steps" if kind == "data" else "live"
    laws = table.laws_of(rows, of)
    table.write(out, rows, laws, of)
    if not quiet:
        for line in table.lines_of(rows, laws, of):
            say(line)
    _draw(kind, sets, out / "figures", quiet)


def _draw(kind: str, sets: Mapping[str, Sequence[Document]], out: Path, quiet: bool) -> None:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        note('no figures: matplotlib is not installed; pip install "zapeval[figures]"')
        return
    from baselines.worms.scaling import figures
    from zapeval.reports.figures import look

    made: dict[str, Figure] = (
        figures.data_figures(sets) if kind == "data" else figures.model_figures(sets)
    )
    for label, documents in sets.items():
        generated = figures.generation_figure(documents)
        if generated is not None:
            made["generation" if len(sets) == 1 else f"generation-{label}"] = generated
    about = f"{sum(map(len, sets.values()))} trained models"
    named = {f"scaling-{name}": figure for name, figure in made.items()}
    for path in look.save(named, out, title=f"scaling on {', '.join(sets)}", about=about):
        if not quiet:
            note(f"{path}: written")
