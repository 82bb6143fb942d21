"""The worm models in plain PyTorch, timed as `bench/worms.py` asks.

Needs PyTorch and nothing else; `bench/worms.py` starts it with a Python that has it:

    python bench/twins/worms_torch.py lstm 302 234

Layers are PyTorch's own wherever it has them. Only the CTRNN is a loop; the product with its inputs
is made once for all frames, as a careful user would.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

WINDOWS, FRAMES = 128, 180
DROPOUT = 0.1


class Feedforward(nn.Module):
    """A dense layer with a skip."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.dense, self.dropout = nn.Linear(hidden, hidden), nn.Dropout(DROPOUT)

    def forward(self, sequence: Tensor) -> Tensor:
        """Returns the sequence with what the layer adds to it."""
        return sequence + self.dropout(torch.relu(self.dense(sequence)))


class CTRNN(nn.Module):
    """A continuous-time recurrent network."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.input, self.recurrent = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.pace = nn.Parameter(torch.ones(hidden))

    def forward(self, sequence: Tensor) -> Tensor:
        """Returns the states."""
        driven, pace = self.input(self.norm(sequence)), torch.sigmoid(self.pace)
        state, states = torch.zeros_like(driven[:, 0]), []
        for frame in driven.unbind(1):
            state = (1 - pace) * state + pace * torch.relu(frame + self.recurrent(state))
            states.append(state)
        return torch.stack(states, 1)


class LSTM(nn.Module):
    """One long short-term memory layer."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm, self.core = nn.LayerNorm(hidden), nn.LSTM(hidden, hidden, batch_first=True)

    def forward(self, sequence: Tensor) -> Tensor:
        """Returns the states."""
        return self.core(self.norm(sequence))[0]


class Positioned(nn.Module):
    """Scales an embedding and adds sinusoidal positions."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        unit = torch.arange(hidden)
        angle = torch.arange(FRAMES)[:, None] / 10_000 ** (unit // 2 * 2 / hidden)
        waves = torch.where(unit % 2 == 0, torch.sin(angle), torch.cos(angle))
        self.register_buffer("waves", waves, persistent=False)
        future = torch.triu(torch.ones(FRAMES, FRAMES, dtype=torch.bool), diagonal=1)
        self.register_buffer("future", future, persistent=False)
        self.dropout, self.scale = nn.Dropout(DROPOUT), math.sqrt(hidden)

    def forward(self, sequence: Tensor) -> Tensor:
        """Returns the sequence with positions."""
        return self.dropout(sequence * self.scale + self.waves)


class Transformer(nn.Module):
    """One causal encoder layer, norms first."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.positioned = Positioned(hidden)
        self.layer = nn.TransformerEncoderLayer(
            hidden, heads_of(hidden), hidden, DROPOUT, batch_first=True, norm_first=True
        )

    def forward(self, sequence: Tensor) -> Tensor:
        """Returns the encoded sequence."""
        future = self.positioned.future
        return self.layer(self.positioned(sequence), src_mask=future, is_causal=True)


class Attention(nn.Module):
    """One causal attention."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.positioned = Positioned(hidden)
        self.layer = nn.MultiheadAttention(hidden, heads_of(hidden), DROPOUT, batch_first=True)

    def forward(self, sequence: Tensor) -> Tensor:
        """Returns what is attended to."""
        values, future = self.positioned(sequence), self.positioned.future
        asked = {"attn_mask": future, "is_causal": True, "need_weights": False}
        return self.layer(values, values, values, **asked)[0]


def linear(hidden: int) -> nn.Module:
    """Returns nothing to do."""
    del hidden
    return nn.Identity()


CORES: dict[str, Callable[[int], nn.Module]] = {
    "linear": linear,
    "feedforward": Feedforward,
    "ctrnn": CTRNN,
    "lstm": LSTM,
    "transformer": Transformer,
    "attention": Attention,
}


def heads_of(hidden: int) -> int:
    """Returns the largest divisor of the width up to five."""
    return max(heads for heads in range(1, 6) if hidden % heads == 0)


def main() -> None:
    """Says what it is; runs the steps that each line of input asks for, and says how long."""
    name, neurons, hidden = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.manual_seed(0)
    core = CORES[name](hidden)
    model = nn.Sequential(nn.Linear(neurons, hidden), core, nn.Linear(hidden, neurons))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    frames = torch.randn(WINDOWS, FRAMES + 1, neurons)
    weight = torch.full((WINDOWS, neurons), 1 / neurons)

    def train() -> None:
        model.train()
        optimizer.zero_grad()
        errors = torch.square(model(frames[:, :-1]) - frames[:, 1:]).mean(1)
        ((errors * weight).sum() / weight.sum()).backward()
        optimizer.step()

    @torch.inference_mode()
    def forward() -> None:
        model.eval()
        model(frames[:, :-1])

    asked = {"train": train, "forward": forward}
    said = {
        "software": f"PyTorch {torch.__version__}",
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    print(json.dumps(said), flush=True)
    for line in sys.stdin:
        kind, steps = line.split()
        begun = time.perf_counter(), time.process_time()
        for _ in range(int(steps)):
            asked[kind]()
        ended = time.perf_counter(), time.process_time()
        print(json.dumps([ended[0] - begun[0], ended[1] - begun[1]]), flush=True)


if __name__ == "__main__":
    main()
