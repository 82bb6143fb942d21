import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from baselines.volumetric.configuration import LEVELS, NAMED, Configuration, named
from zapeval.errors import NotFound, UsageError

PROJECT = Path(__file__).parents[3]


def test_four_blocks_run_at_the_coarsest_level_and_three_at_any_other():
    for levels in range(5):
        configuration = Configuration(context=4, resampling=LEVELS[:levels])
        blocks = [configuration.blocks_at(level) for level in range(levels + 1)]
        assert blocks == [3] * levels + [4]


def test_named_configurations_are_the_papers():
    widest = named("S256", context=4)
    assert widest == Configuration(context=4)
    assert widest.coarsest == (16, 16, 8)
    assert (widest.features, widest.groups, widest.horizon, widest.dropout) == (128, 16, 32, 0)
    assert named("S64", context=4).coarsest == (4, 4, 2)
    assert named("S21", context=256).dropout == 0.1
    full = named("S21", context=4, full_resolution=True, head="direct")
    assert (full.finest, full.upsampled_features, full.outputs) == ((4, 4, 1), 32, 32)


@pytest.mark.parametrize(
    ("changes", "outputs", "steps", "embedding"),
    [
        ({}, 1, 1, 32),
        ({"head": "direct"}, 32, 32, 0),
        ({"head": "hl-gauss", "bins": 7}, 7, 1, 32),
        ({"head": "autoregression"}, 1, 1, 0),
        ({"past_stimulus": 26}, 1, 1, 288),
        ({"head": "direct", "past_stimulus": 26, "future_stimulus": 26}, 32, 32, 512),
    ],
)
def test_heads_and_stimuli_say_what_goes_in_and_out(changes, outputs, steps, embedding):
    configuration = Configuration(context=4, **changes)
    found = configuration.outputs, configuration.steps, configuration.embedding
    assert found == (outputs, steps, embedding)


def test_a_configuration_survives_json():
    configuration = named("S64", context=4, full_resolution=True)
    assert Configuration(**json.loads(json.dumps(asdict(configuration)))) == configuration


def test_what_a_configuration_says_loads_no_jax():
    names = ", ".join(f"baselines.volumetric.{n}" for n in ("structure", "fields", "sizes"))
    program = f"import sys, {names}; sys.exit('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=False)
    assert done.returncode == 0


def test_unknown_name_lists_the_known():
    with pytest.raises(NotFound, match=", ".join(NAMED)):
        named("S128", context=4)


@pytest.mark.parametrize("change", ["width", "levels", "blocks_at"])
def test_an_unknown_attribute_is_refused(change):
    with pytest.raises(UsageError, match=f"has no '{change}'; it has context, horizon"):
        named("S64", context=4, **{change: 3})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": 0}, "context is 0, expected a whole number from 1"),
        ({"context": 4.0}, r"context is 4\.0, expected a whole number"),
        ({"past_stimulus": -1}, "past_stimulus is -1, expected a whole number from 0"),
        ({"bins": 1}, "bins is 1, expected a whole number from 2"),
        ({"features": 100}, "features is 100, expected a multiple of groups, which is 16"),
        (
            {"upsampling": ((2, 2, 1),), "upsampled_features": 8},
            "upsampled_features is 8, expected a multiple of groups",
        ),
        ({"dropout": 1}, "dropout is 1, expected 0 to below 1"),
        ({"head": "all"}, "head is 'all', expected lead-time or direct or hl-gauss"),
        (
            {"head": "autoregression", "upsampling": ((2, 2, 1),), "upsampled_features": 32},
            "is fed its own frames, which must be of the input's resolution",
        ),
        ({"head": "autoregression", "past_stimulus": 2}, "takes no stimulus"),
        ({"head": "autoregression", "future_stimulus": 2}, "takes no stimulus"),
        ({"skip": "none"}, "skip is 'none', expected add or concat"),
        ({"precision": "float16"}, "precision is 'float16', expected float32 or bfloat16"),
        ({"resampling": (2, 2)}, r"resampling is \(2, 2\), expected factors like \(2, 2, 1\)"),
        ({"resampling": ((2, 2),)}, "expected factors like"),
        ({"resampling": ((1, 1, 1),)}, r"resampling has \(1, 1, 1\), expected whole numbers"),
        ({"upsampling": ((2, 2, 0),)}, r"upsampling has \(2, 2, 0\), expected whole numbers"),
    ],
)
def test_values_out_of_range_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        Configuration(**{"context": 4, **changes})
