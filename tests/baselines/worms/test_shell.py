from __future__ import annotations

import jax
import numpy as np
import pytest
from flax import nnx

from baselines.worms.cores import CORES
from baselines.worms.forecasters import (
    WormAttention,
    WormCTRNN,
    WormFeedforward,
    WormLSTM,
    WormTransformer,
)
from baselines.worms.shell import Shell, parameter_count
from zapeval.errors import UsageError

pytestmark = pytest.mark.usefixtures("strict_promotion")

TABLE_II = {
    ("feedforward", 300): (272_702, 272_102),
    ("ctrnn", 300): (363_302, 363_302),
    ("lstm", 300): (904_802, 904_802),
    ("transformer", 300): (1_268_402, 724_802),
    ("attention", 300): (543_602, 543_002),
    ("feedforward", 516): (580_286, 579_254),
    ("ctrnn", 408): (582_110, 582_110),
    ("lstm", 234): (582_260, 582_260),
    ("transformer", 196): (584_186, 351_338),
    ("attention", 312): (580_310, 579_686),
}
"""The ten numbers of Table II (Simeon et al. 2024), each with those that learn."""


@pytest.mark.parametrize(("core", "hidden"), TABLE_II)
def test_parameters_are_those_of_table_ii(core, hidden):
    found = parameter_count(core, hidden)
    assert (found.counted, found.live) == TABLE_II[core, hidden]


def test_the_linear_model_is_counted_with_a_norm_that_it_does_not_use():
    found = parameter_count("linear", 302)
    assert (found.counted, found.live) == (183_616, 183_012)


@pytest.mark.parametrize("core", CORES)
def test_what_is_counted_as_live_is_what_is_built_and_learns(core):
    model = Shell(core=core, neurons=7, hidden=12, rngs=nnx.Rngs(0))
    activity = np.random.default_rng(0).normal(size=(2, 9, 7)).astype(np.float32)
    definition, params = nnx.split(model)

    def loss(params):
        return (nnx.merge(definition, params)(activity) ** 2).sum()

    slopes = jax.tree.leaves(jax.grad(loss)(params))
    assert sum(leaf.size for leaf in slopes) == parameter_count(core, 12, 7).live
    still = [leaf.shape for leaf in slopes if not np.asarray(leaf).any()]
    assert still == []


def test_the_default_widths_are_those_of_the_comparison():
    matched = {key for key in TABLE_II if key[1] != 300}
    made = (WormFeedforward, WormCTRNN, WormLSTM, WormTransformer, WormAttention)
    assert {(one.core, one().parameters["hidden"]) for one in made} == matched


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("cut", [1, 5, 11])
def test_no_output_hangs_on_a_later_frame(drawn, seen, core, cut):
    model = drawn(core)
    changed = seen.copy()
    changed[:, cut:] = 100
    before, after = np.asarray(model(seen)), np.asarray(model(changed))
    np.testing.assert_allclose(after[:, :cut], before[:, :cut], rtol=1e-5, atol=1e-5)
    assert (np.abs(after[:, cut:] - before[:, cut:]).max(axis=(1, 2)) > 1e-2).all()


@pytest.mark.parametrize("core", ["ctrnn", "lstm", "transformer", "attention"])
def test_the_last_output_hangs_on_the_first_frame(drawn, seen, core):
    model = drawn(core)
    changed = seen.copy()
    changed[:, 0] += 3
    assert np.abs(model(changed)[:, -1] - model(seen)[:, -1]).max() > 1e-5


@pytest.mark.parametrize("core", ["linear", "feedforward"])
def test_the_others_see_one_frame_alone(drawn, seen, core):
    model = drawn(core)
    single = np.asarray(model(seen[:, 6:7]))
    np.testing.assert_allclose(model(seen)[:, 6:7], single, rtol=1e-5, atol=1e-5)


def test_an_unknown_core_lists_the_known():
    with pytest.raises(UsageError, match=r"core 'gru': expected one of linear, feedforward, ctrnn"):
        Shell(core="gru", neurons=7, hidden=8, rngs=nnx.Rngs(0))
    with pytest.raises(UsageError, match="core 'gru'"):
        parameter_count("gru", 8)
