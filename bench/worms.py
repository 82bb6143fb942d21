"""Training and forecasting speed of the six worm models, beside the same models in plain PyTorch.

    python bench/worms.py                              where PyTorch is installed beside zapeval
    python bench/worms.py --torch-python OTHER/python  where another environment has it

Sizes are the paper's: 302 neurons, batches of 128 windows of 180 frames, the widths of its
comparison of architectures. A training step is forward, backward and AdamW on Eq. 4, dropout
included; the forward pass is that of a forecast. Each side holds one model at a time in a process
of its own, with as many threads as there are cores, and they take turns; ratios are taken within a
round, and medians are shown. The batch is in memory already. Without PyTorch ours is timed alone.

Where other work runs on the machine, seconds of the clock say little; `--cores 1 --clock cpu`
counts the processor's seconds on one core.

The twins are in `bench/twins/worms_torch.py`; that both sides have as many parameters is checked.
For another environment: `python -m venv OTHER`, and PyTorch's CPU build into it with pip.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from zapeval.benchmarks.celegans.names import NAMES
from zapeval.benchmarks.celegans.tasks import LENGTH
from zapeval.registry import FORECASTERS, find

WINDOWS = 128
KINDS = ("train", "forward")
CLOCKS = ("wall", "cpu")
MODELS = ("linear", "feedforward", "ctrnn", "lstm", "transformer", "attention")
TWIN = Path(__file__).parent / "twins" / "worms_torch.py"


def main() -> None:
    """Times each model and prints the table."""
    options = _options()
    if options.child:
        _serve(options.child)
        return
    if options.cores:
        # Both sides inherit it, and start as many threads.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    cores = len(os.sched_getaffinity(0))
    beside = _has_torch(options.torch_python)
    print(f"{_machine()}, {cores} cores; median of {options.rounds} rounds")
    print(f"sequences of {LENGTH} frames a second, {options.clock} clock\n")
    if not beside:
        print(f"{options.torch_python} has no PyTorch: ours alone\n")
    print("| model | width | parameters | step | ours | PyTorch | ratio | rounds |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.models:
        _compare(name, options, beside)


def _compare(name: str, options: argparse.Namespace, beside: bool) -> None:
    width = _width(name)
    commands = [[sys.executable, __file__, "--child", name]]
    if beside:
        commands.append([options.torch_python, str(TWIN), name, str(len(NAMES)), str(width)])
    sides = [_Side(command, options.clock) for command in commands]
    counts = {side.said["parameters"] for side in sides}
    if len(counts) > 1:
        sys.exit(f"{name}: {' and '.join(map(str, counts))} parameters, expected as many")
    for kind in KINDS:
        # The first steps compile and take memory.
        steps = [max(1, round(options.seconds / side.ask(kind, 2, 2))) for side in sides]
        rounds = [
            [WINDOWS / side.ask(kind, count) for side, count in zip(sides, steps, strict=True)]
            for _ in range(options.rounds)
        ]
        speeds = [f"{statistics.median(column):,.0f}" for column in zip(*rounds, strict=True)]
        ratios = [one[0] / one[-1] for one in rounds] if beside else []
        cells = [*speeds, *[""] * (2 - len(speeds)), *_said(ratios)]
        print(f"| {name} | {width} | {counts.copy().pop():,} | {kind} | {' | '.join(cells)} |")
    print(f"<!-- {', '.join(side.said['software'] for side in sides)} -->", flush=True)
    for side in sides:
        side.close()


def _said(ratios: list[float]) -> list[str]:
    if not ratios:
        return ["", ""]
    return [f"{statistics.median(ratios):.2f}", ", ".join(f"{ratio:.2f}" for ratio in ratios)]


class _Side:
    """A process that holds one model, and runs steps when it is asked to."""

    def __init__(self, command: list[str], clock: str) -> None:
        self._clock = clock
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.said = self._answer()

    def ask(self, kind: str, steps: int, times: int = 1) -> float:
        """Returns the seconds of a step, the last time of several."""
        for _ in range(times):
            self._process.stdin.write(f"{kind} {steps}\n")
            self._process.stdin.flush()
            seconds = self._answer()[CLOCKS.index(self._clock)]
        return seconds / steps

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> Any:
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"{' '.join(self._process.args)}: ended without an answer")
        return json.loads(line)


def _serve(name: str) -> None:
    """Says what our model is, then runs steps of it as the lines of input ask."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from baselines.timeseries.layers import parameter_count
    from baselines.training import _compiled
    from baselines.worms.forecasters import masked_squares
    from baselines.worms.shell import Shell

    neurons = len(NAMES)
    model = Shell(core=name, neurons=neurons, hidden=_width(name), rngs=nnx.Rngs(0))
    optimizer = find(FORECASTERS, f"worm-{name}")().plan.optimizer()
    said = {"software": f"JAX {jax.__version__}", "parameters": parameter_count(model)}
    definition, params = nnx.split(model)
    loss = masked_squares(definition)
    step, _ = _compiled(loss, loss, optimizer)
    forward = jax.jit(lambda params, activity: nnx.merge(definition, params)(activity))
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(WINDOWS, LENGTH + 1, neurons)).astype(np.float32)
    batch = jax.device_put(
        {
            "frames": frames,
            "weight": np.full((WINDOWS, neurons), 1 / neurons, np.float32),
            "key": np.array([1, 2], np.uint32),
        }
    )
    activity, memory = jnp.asarray(frames[:, :-1]), optimizer.init(params)
    print(json.dumps(said), flush=True)
    for line in sys.stdin:
        kind, steps = line.split()
        begun = time.perf_counter(), time.process_time()
        for _ in range(int(steps)):
            if kind == "train":
                params, memory, value = step(params, memory, batch, 1e-3)
            else:
                value = forward(params, activity)
        jax.block_until_ready(value)
        ended = time.perf_counter(), time.process_time()
        print(json.dumps([ended[0] - begun[0], ended[1] - begun[1]]), flush=True)


def _width(name: str) -> int:
    return find(FORECASTERS, f"worm-{name}").width or len(NAMES)


def _has_torch(python: str) -> bool:
    asked = [
        python,
        "-c",
        "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is None)",
    ]
    return subprocess.run(asked, check=False).returncode == 0


def _machine() -> str:
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", default=sys.executable, help="a Python with PyTorch")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="about how long a turn takes")
    parser.add_argument("--cores", type=int, help="as many of them; all by default")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--child", choices=MODELS, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
