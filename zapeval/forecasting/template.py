"""The template: texts of a new forecaster's package.

``@NAME@``, ``@MODULE@`` and ``@CLASS@`` stand for the names that it gets.
"""

from __future__ import annotations

PROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "@NAME@"
version = "0.1.0"
description = "A forecaster of whole-brain neural activity, for zapeval"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["numpy>=2.0", "zapeval"]

[project.optional-dependencies]
dev = ["pytest>=8.3"]

[project.entry-points."zapeval.forecasters"]
@NAME@ = "@MODULE@:@CLASS@"

[tool.hatch.build.targets.wheel]
only-include = ["@MODULE@.py"]
"""

PLAIN = '''\
"""A forecaster of whole-brain activity, found by zapeval once it is installed."""

import numpy as np
import zapeval


class @CLASS@(zapeval.Forecaster):
    """Goes on as the last four frames went, less and less: a damped trend."""

    name = "@NAME@"
    version = "0.1.0"

    def forecast(self, contexts: zapeval.Contexts) -> np.ndarray:
        """Returns float32 [windows, horizon, neurons] for activity [windows, context, neurons]."""
        recent = contexts.activity[:, -4:]
        last = recent[:, -1:]
        slope = (last - recent[:, :1]) / max(1, recent.shape[1] - 1)
        steps = np.arange(1, contexts.horizon + 1, dtype=np.float32)
        return last + slope * np.cumsum(0.8**steps)[:, None]
'''

LEARNING = '''\
"""A forecaster of whole-brain activity that learns, found by zapeval once it is installed."""

from pathlib import Path

import numpy as np
import zapeval

BATCH = 32


class @CLASS@(zapeval.Forecaster):
    """Forecasts each step as a weighted sum of the context, with the same weights everywhere."""

    name = "@NAME@"
    version = "0.1.0"

    def fit(self, training: zapeval.Training) -> None:
        """Finds the weights by least squares over all training windows and neurons."""
        size = training.context + 1
        gram, product = np.eye(size) * 1e-6, np.zeros((size, training.horizon))
        for number, series in enumerate(training.series, start=1):
            for start in range(0, len(series.train_origins), BATCH):
                origins = series.train_origins[start : start + BATCH]
                inputs = with_one(series.contexts(origins).activity).astype(np.float64)
                gram += np.einsum("wan,wbn->ab", inputs, inputs, optimize=True)
                targets = series.targets(origins)
                product += np.einsum("wan,wbn->ab", inputs, targets, optimize=True)
            training.report(number, len(training.series), series.name)
        self.weights = np.linalg.solve(gram, product).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Writes the weights."""
        np.save(folder / "weights.npy", self.weights)

    def load(self, folder: Path) -> None:
        """Takes up weights that were written."""
        self.weights = np.load(folder / "weights.npy")

    def forecast(self, contexts: zapeval.Contexts) -> np.ndarray:
        """Returns float32 [windows, horizon, neurons] for activity [windows, context, neurons]."""
        return self.weights.T @ with_one(contexts.activity)


def with_one(activity: np.ndarray) -> np.ndarray:
    """Returns activity with one more frame, of ones, for the constant of the sum."""
    return np.concatenate([activity, np.ones_like(activity[:, :1])], axis=1)
'''

TESTS = '''\
"""The forecaster keeps the contract of every forecaster."""

from zapeval.testing import ForecasterContract

from @MODULE@ import @CLASS@


class Test@CLASS@(ForecasterContract):
    """Each test is inherited; see zapeval.testing."""

    def make(self) -> @CLASS@:
        """Returns a new forecaster."""
        return @CLASS@()
'''

_README = """\
# @NAME@

A forecaster of whole-brain neural activity for zapeval: @WHAT@.
It is written in `@MODULE@.py`; change that file into your own.

Install it, see that it is found, and test that it keeps the contract of every forecaster:

```
pip install -e '.[dev]'
zapeval forecasters list
zapeval forecasters show @NAME@
pytest
```

@HOW@, on the embedded benchmark:

```
@RUN@
zapeval score @NAME@.zarr
```

On ZAPBench itself the benchmark is `-b zapbench`, and `zapeval data fetch zapbench` copies its
recording first. A repeated command goes on where an interrupted one stopped.
"""

_OPTIONS = "-b zapbench-mini -c 4"

README = {
    False: _README.replace("@WHAT@", "it goes on as the last four frames went, less and less")
    .replace("@HOW@", "Forecast and score")
    .replace("@RUN@", f"zapeval forecast @NAME@ {_OPTIONS} --out @NAME@.zarr"),
    True: _README.replace("@WHAT@", "it learns how to weigh the frames of a context")
    .replace("@HOW@", "Train, forecast and score")
    .replace(
        "@RUN@",
        f"zapeval train @NAME@ {_OPTIONS} --out checkpoints\n"
        f"zapeval forecast @NAME@ {_OPTIONS} --checkpoint checkpoints/seed-0 --out @NAME@.zarr",
    ),
}
"""By whether it learns."""
