import math
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from baselines.volumetric.configuration import LEVELS, NAMED, Configuration, named
from baselines.volumetric.fields import exact_field, receptive_field
from baselines.volumetric.structure import flops, layers, parameter_count
from baselines.volumetric.unet import UNet

VOLUME = (512, 288, 72)

VARIANTS = [
    {},
    {"resampling": ()},
    {"skip": "concat"},
    {"head": "direct"},
    {"head": "hl-gauss", "upsampling": ((2, 2, 1), (1, 2, 1)), "upsampled_features": 2},
    {"past_stimulus": 3, "future_stimulus": 2},
    {"head": "direct", "future_stimulus": 2, "upsampling": ((2, 2, 2),), "upsampled_blocks": 2},
]


def shapes(configuration):
    return nnx.eval_shape(lambda: UNet(configuration, rngs=nnx.Rngs(0)))


def counted(model):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(model)))


@pytest.mark.parametrize("changes", VARIANTS)
def test_parameters_are_those_of_the_model(small, changes):
    changes = {**changes, "upsampled_features": 8} if "upsampling" in changes else changes
    configuration = small(**changes)
    assert parameter_count(configuration) == counted(shapes(configuration))


@pytest.mark.parametrize(
    ("name", "context", "full_resolution", "count"),
    [
        ("S21", 4, False, 3_601_921),
        ("S64", 4, False, 8_965_633),
        ("S256", 4, False, 14_329_345),
        ("S256", 256, False, 15_200_257),
        ("S256", 4, True, 14_546_305),
    ],
)
def test_parameters_of_the_papers_configurations(name, context, full_resolution, count):
    configuration = named(name, context=context, full_resolution=full_resolution)
    assert parameter_count(configuration) == counted(shapes(configuration)) == count


@pytest.mark.parametrize("context", [1, 4, 16, 64, 256])
@pytest.mark.parametrize("name", NAMED)
def test_parameters_follow_the_closed_form(name, context):
    configuration = named(name, context=context)
    c, f, b = context, configuration.features, 3 * configuration.levels + 4
    form = 27 * c * f + 96 * f + 1 + b * (54 * f**2 + 72 * f)
    assert parameter_count(configuration) == form


def operations(jaxpr):
    """Counts the operations of convolutions and matrix products in a traced program."""
    total = 0
    for equation in jaxpr.eqns:
        inner = [p for p in equation.params.values() if hasattr(p, "jaxpr") or hasattr(p, "eqns")]
        total += sum(operations(getattr(p, "jaxpr", p)) for p in inner)
        if equation.primitive.name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            total += 2 * math.prod(kernel[:-1]) * math.prod(equation.outvars[0].aval.shape)
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            summed = math.prod(shape[axis] for axis in contracted)
            total += 2 * summed * math.prod(equation.outvars[0].aval.shape)
    return total


@pytest.mark.parametrize("changes", VARIANTS)
def test_operations_are_those_of_the_traced_model(small, changes):
    changes = {**changes, "upsampled_features": 8} if "upsampling" in changes else changes
    c, volume = small(**changes), (4, 6, 2)
    definition, state = nnx.split(shapes(c))
    given = {
        "lead": (c.told_lead_time, (1,)),
        "past_stimulus": (c.past_stimulus, (1, c.context, c.past_stimulus)),
        "future_stimulus": (c.future_stimulus, (1, c.horizon, c.future_stimulus)),
    }
    told = {
        name: jax.ShapeDtypeStruct(shape, jnp.float32)
        for name, (has, shape) in given.items()
        if has
    }
    frames = jax.ShapeDtypeStruct((1, c.context, *volume), jnp.float32)
    traced = jax.make_jaxpr(lambda s, f, t: nnx.merge(definition, s)(f, **t))(state, frames, told)
    assert flops(c, volume) == operations(traced.jaxpr) > 0


def test_operations_sum_over_layers():
    configuration = named("S64", context=4)
    each = [layer.flops(math.prod(VOLUME)) for layer in layers(configuration)]
    assert flops(configuration, VOLUME) == sum(each)
    largest = 2 * 27 * 128 * 128 * math.prod(VOLUME)
    assert max(each) == largest


@pytest.mark.parametrize("full_resolution", [False, True])
@pytest.mark.parametrize("context", [1, 4, 16, 64, 256])
def test_operations_stay_about_fixed_for_any_number_of_levels(context, full_resolution):
    base = named("S21", context=context, full_resolution=full_resolution)
    given = vars(base)
    every = [
        flops(Configuration(**{**given, "resampling": LEVELS[:levels]}), VOLUME)
        for levels in range(5)
    ]
    assert max(every) / min(every) < 1.15
    without_more_blocks = Configuration(**{**given, "blocks": 2})
    assert flops(without_more_blocks, VOLUME) < min(every) * 0.9


def test_the_table_in_the_docs_is_that_of_the_configurations():
    page = (Path(__file__).parents[3] / "docs" / "volumetric.md").read_text(encoding="utf-8")
    for name in NAMED:
        for full in (False, True) if name == "S256" else (False,):
            four, most = (named(name, context=c, full_resolution=full) for c in (4, 256))
            cells = (
                f"{parameter_count(four):,}",
                f"{parameter_count(most):,}",
                f"{flops(four, (512, 288, 72)) / 1e12:.1f}",
                " x ".join(map(str, receptive_field(four))),
                " x ".join(map(str, exact_field(four))),
            )
            assert "| " + " | ".join(cells) + " |" in page
