"""Learning curves: what a training was like, as JSON lines and as a figure."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

METRICS = "metrics.jsonl"
FIGURE = "learning-curve.svg"


class Curves:
    """The validations of one training, one line each.

    Args:
        folder: Where the records of the training lie.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / METRICS

    def add(self, step: int, train: float, validation: float, rate: float, seconds: float) -> None:
        """Adds a validation.

        Args:
            step: Steps done.
            train: Mean training loss since the last validation.
            validation: Validation loss.
            rate: Learning rate.
            seconds: Time since the training began, or went on.
        """
        line = {
            "step": step,
            "train": train,
            "validation": validation,
            "learning_rate": rate,
            "seconds": round(seconds, 3),
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def cut(self, step: int) -> None:
        """Takes away what lies behind a step, which will be done again."""
        kept = [line for line in self.read() if line["step"] <= step]
        partial = self._path.with_suffix(".part")
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        partial.replace(self._path)

    def read(self) -> list[dict[str, float]]:
        """Returns the lines; one that an interruption tore is passed over."""
        if not self._path.is_file():
            return []
        lines = []
        for text in self._path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                continue
        return lines

    def draw(self) -> Path | None:
        """Draws loss against step where matplotlib is installed, and returns the figure."""
        if importlib.util.find_spec("matplotlib") is None:
            return None
        from matplotlib.figure import Figure

        lines = self.read()
        steps = [line["step"] for line in lines]
        figure = Figure(figsize=(5, 3.2), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(steps, [line["train"] for line in lines], color="#999999", label="training")
        axes.plot(
            steps, [line["validation"] for line in lines], color="#0072B2", label="validation"
        )
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        path = self._path.with_name(FIGURE)
        figure.savefig(path)
        return path
