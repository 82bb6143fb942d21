r"""The baselines on a benchmark: trained, forecast, scored, and put into one table.

Runs the commands that a user would type, for every forecaster, context length and seed; what is
there already is not done again, so an interrupted run goes on. Prints the table in Markdown: mean
over seeds and two standard errors.

    python bench/table.py --out runs/mini
    python bench/table.py --out runs/fish -b zebrafish-regions --data DIR
    python bench/table.py --out runs/worm -b celegans --data DIR --contexts 180 --steps 1 \
        --forecasters persistence worm-lstm --set worm-lstm:published=true
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LEARNED = (
    *("stimulus", "stimulus-train", "least-squares", "least-squares-last", "var"),
    *("linear", "nlinear", "dlinear", "time-mix", "tsmixer", "tide"),
)
WORMS = tuple(
    f"worm-{core}"
    for core in ("linear", "feedforward", "ctrnn", "lstm", "transformer", "attention")
)
NAIVE = ("persistence", "mean", "drift", "seasonal-naive")
STEPS = (1, 4, 8, 16, 32)
PROGRAM = (sys.executable, "-c", "from zapeval.cli.app import main; main()")


def main() -> None:
    """Runs what is missing and prints the table."""
    options = _options()
    print(f"| forecaster | C | {' | '.join(f'h={s}' for s in options.steps)} | summary |")
    print("|---|---|" + "---|" * (len(options.steps) + 1))
    for context in options.contexts:
        for name in options.forecasters:
            cards = [json.loads(path.read_text()) for path in _cards(options, name, context)]
            columns = [[_at(card, step) for card in cards] for step in options.steps]
            columns.append([card["summary"]["value"] for card in cards])
            cells = " | ".join(_cell(values) for values in columns)
            print(f"| {name} | {context} | {cells} |", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="where everything goes")
    parser.add_argument("-b", "--benchmark", default="zapbench-mini")
    parser.add_argument("--data", help="folder that holds the recordings")
    parser.add_argument("--contexts", type=int, nargs="+", default=[4, 256])
    parser.add_argument("--steps", type=int, nargs="+", default=list(STEPS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--forecasters", nargs="+", default=[*NAIVE, *LEARNED])
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="NAME:KEY=VALUE", help="settings of a forecaster"
    )
    return parser.parse_args()


def _cards(options: argparse.Namespace, name: str, context: int) -> list[Path]:
    """Returns the scorecards of one forecaster, one a seed; those of naive ones are one."""
    where = ["-b", options.benchmark, "-c", str(context)]
    data = ["--data", options.data] if options.data else []
    folder = options.out / f"{name}-c{context}"
    settings = [s.partition(":")[2] for s in options.set if s.startswith(f"{name}:")]
    chosen = [part for setting in settings for part in ("--set", setting)]
    seeds: list[tuple[str, list[str]]] = [("naive", chosen)]
    if name in LEARNED + WORMS:
        seeds = [
            (f"seed-{seed}", ["--checkpoint", str(folder / f"seed-{seed}")])
            for seed in range(options.seeds)
        ]
        _run("train", name, *where, *data, *chosen, "--out", folder, "--seeds", options.seeds)
    cards = []
    for label, how in seeds:
        card, store = folder / f"{label}.json", folder / f"{label}.zarr"
        if not card.exists():
            if not store.exists():
                _run("forecast", name, *where, *data, *how, "--out", store)
            _run("score", store, *where, *data, "--json", card)
        cards.append(card)
    return cards


def _run(*words: object) -> None:
    done = subprocess.run([*PROGRAM, *map(str, words)], stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        sys.exit(f"zapeval {' '.join(map(str, words))}: ended with {done.returncode}")


def _at(card: dict, step: int) -> float:
    for row in card["scores"]:
        metric = card["summary"]["metric"]
        if (row["series"], row["step"], row["metric"]) == ("average", step, metric):
            return row["value"]
    raise KeyError(step)


def _cell(values: Sequence[float]) -> str:
    mean = f"{statistics.fmean(values):.5f}"
    if len(values) < 2 or len(set(values)) == 1:
        return mean
    return f"{mean} ± {2 * statistics.stdev(values) / len(values) ** 0.5:.5f}"


if __name__ == "__main__":
    main()
