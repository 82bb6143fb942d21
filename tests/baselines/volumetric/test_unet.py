from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from baselines.volumetric.configuration import Configuration
from baselines.volumetric.unet import UNet, sinusoids
from zapeval.errors import InvalidInput, UsageError


class Twin:
    """The same network in NumPy, float64, written from the paper's description."""

    def __init__(self, model):
        self.model, self.c = model, model.configuration

    def __call__(self, frames, lead):
        c, model = self.c, self.model
        angles = lead / 10_000 ** (np.arange(16) / 16)
        told = np.concatenate([np.cos(angles), np.sin(angles)])
        skips = [self.conv(model.stem, np.moveaxis(frames, 0, -1))]
        for factor in c.resampling:
            skips.append(self.pooled(skips[-1], factor))
        volume = skips.pop()
        for level in reversed(range(c.levels + 1)):
            for block in model.levels[level]:
                volume = self.block(block, volume, told)
            if level:
                volume = skips.pop() + self.repeated(volume, c.resampling[level - 1])
        if model.narrow is not None:
            volume = self.conv(model.narrow.conv, self.swish(self.norm(model.narrow, volume)))
        for factor, blocks in zip(c.upsampling, model.finer, strict=True):
            volume = self.repeated(volume, factor)
            for block in blocks:
                volume = self.block(block, volume, told)
        return self.head(model.head, volume, told)

    def block(self, block, volume, told):
        change = self.conv(block.conv, self.swish(self.norm(block, volume)))
        return volume + self.head(block.second, change, told)

    def head(self, head, volume, told):
        film = told @ self.of(head.film.dense.kernel) + self.of(head.film.dense.bias)
        shift, scale = np.split(film, 2)
        return self.conv(head.conv, self.swish(shift + self.norm(head, volume) * (scale + 1)))

    def norm(self, part, volume):
        groups = np.split(volume, self.c.groups, axis=-1)
        flat = [(g - g.mean()) / np.sqrt(g.var() + 1e-6) for g in groups]
        layer = part.norm.norm
        return np.concatenate(flat, axis=-1) * self.of(layer.scale) + self.of(layer.bias)

    def conv(self, layer, volume):
        kernel, (x, y, z) = self.of(layer.kernel), volume.shape[:3]
        padded = np.pad(volume, ((1, 1), (1, 1), (1, 1), (0, 0)))
        total = np.zeros((x, y, z, kernel.shape[-1])) + self.of(layer.bias)
        for i, j, k in np.ndindex(3, 3, 3):
            total += padded[i : i + x, j : j + y, k : k + z] @ kernel[i, j, k]
        return total

    @staticmethod
    def pooled(volume, factor):
        small = np.zeros((*(n // f for n, f in zip(volume.shape[:3], factor, strict=True)), 1))
        small = np.repeat(small, volume.shape[3], axis=3)
        for x, y, z in np.ndindex(*small.shape[:3]):
            where = [slice(n * f, n * f + f) for n, f in zip((x, y, z), factor, strict=True)]
            small[x, y, z] = volume[tuple(where)].mean((0, 1, 2))
        return small

    @staticmethod
    def repeated(volume, factor):
        for axis, times in enumerate(factor):
            volume = np.repeat(volume, times, axis=axis)
        return volume

    @staticmethod
    def swish(values):
        return values / (1 + np.exp(-values))

    @staticmethod
    def of(parameter):
        return np.asarray(parameter[...], np.float64)


def test_the_model_is_its_twin_in_numpy(small, drawn, seen, called):
    changes = {"upsampling": ((2, 1, 1),), "resampling": ((2, 2, 1), (1, 1, 3))}
    c = small(**changes)
    model, given = drawn(c), seen(c)
    found = called(model, given)
    for window in range(2):
        frames, lead = (np.asarray(given[name])[window] for name in ("frames", "lead"))
        twin = Twin(model)(frames.astype(np.float64), int(lead))
        assert np.abs(twin).max() > 0.5
        np.testing.assert_allclose(found[window], twin, atol=2e-5)


def test_a_new_model_does_not_hear_what_it_is_told(small, seen, called, quick):
    c = small(resampling=(), past_stimulus=2, future_stimulus=3)
    definition, state = nnx.split(quick(lambda: UNet(c, rngs=nnx.Rngs(0)))())
    model, given = nnx.merge(definition, state), seen(c)
    other = {name: value if name == "frames" else value + 1 for name, value in given.items()}
    first = called(model, given)
    assert np.abs(first).max() > 0
    np.testing.assert_array_equal(first, called(model, other))


def test_everything_told_has_an_effect_once_trained_on_its_own_window_alone(
    small, drawn, seen, called
):
    c = small(resampling=(), past_stimulus=2, future_stimulus=3)
    model, given = drawn(c), seen(c)
    plain = called(model, given)
    for name, value in given.items():
        other = {**given, name: value.at[0].add(1)}
        moved = np.abs(plain - called(model, other)).max(axis=(1, 2, 3, 4))
        assert moved[0] > 1e-3, name
        assert moved[1] == 0, name


@pytest.mark.parametrize(
    ("changes", "outputs", "frames"),
    [
        ({}, (2, 4, 6, 3, 1), (2, 1, 4, 6, 3)),
        ({"head": "direct"}, (2, 4, 6, 3, 5), (2, 5, 4, 6, 3)),
        ({"head": "hl-gauss", "skip": "concat"}, (2, 4, 6, 3, 8), (2, 1, 4, 6, 3)),
        (
            {
                "upsampling": ((2, 2, 1), (1, 2, 1)),
                "upsampled_features": 2,
                "precision": "bfloat16",
            },
            (2, 8, 24, 3, 1),
            (2, 1, 8, 24, 3),
        ),
    ],
)
def test_each_head_gives_its_shape(small, seen, changes, outputs, frames):
    c = small(**changes)
    model = nnx.eval_shape(lambda: UNet(c, rngs=nnx.Rngs(0)))
    definition, state = nnx.split(model)
    for method, shape in (("__call__", outputs), ("forecast", frames)):
        found = jax.eval_shape(
            lambda s, g, method=method: getattr(nnx.merge(definition, s), method)(**g),
            state,
            seen(c),
        )
        assert (found.shape, found.dtype) == (shape, jnp.float32)


def test_all_that_is_learned_is_float32_parameters(small):
    model = nnx.eval_shape(lambda: UNet(small(precision="bfloat16"), rngs=nnx.Rngs(0)))
    everything, parameters = nnx.state(model), nnx.state(model, nnx.Param)
    assert jax.tree.structure(everything) == jax.tree.structure(parameters)
    assert {leaf.dtype for leaf in jax.tree.leaves(parameters)} == {jnp.dtype("float32")}


def loss_and_gradient(quick, configuration, model, given, key):
    definition = nnx.split(nnx.eval_shape(lambda: UNet(configuration, rngs=nnx.Rngs(0))))[0]

    def loss(state):
        return jnp.abs(nnx.merge(definition, state)(**given, key=key)).mean()

    return quick(jax.value_and_grad(loss))(nnx.state(model))


def test_remat_changes_nothing_but_computes_again(small, drawn, seen, quick):
    plain = small(dropout=0.5, resampling=())
    again = replace(plain, remat=True)
    model, given, key = drawn(plain), seen(plain), jax.random.key(3)
    first = loss_and_gradient(quick, plain, model, given, key)
    second = loss_and_gradient(quick, again, model, given, key)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), first, second)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(first))
    assert min(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(first)) > 0
    shapes = nnx.split(nnx.eval_shape(lambda: UNet(again, rngs=nnx.Rngs(0))))
    traced = jax.make_jaxpr(lambda s: nnx.merge(shapes[0], s)(**given))(shapes[1])
    names = [equation.primitive.name for equation in traced.eqns]
    assert sum(name in ("remat", "remat2", "checkpoint") for name in names) == 3, (
        "two blocks and the head"
    )


def test_bfloat16_stays_near_float32(small, drawn, seen, called):
    precise = small(resampling=())
    model, given = drawn(precise), seen(precise)
    rough = drawn(replace(precise, precision="bfloat16"))
    first, second = called(model, given), called(rough, given)
    far = np.abs(first - second)
    assert 0 < far.mean() < 0.02 * np.abs(first).mean()


def test_dropout_drops_by_key_and_only_with_one(small, drawn, seen, called):
    c = small(resampling=(), dropout=0.5)
    model, given = drawn(c), seen(c)
    one, two = (called(model, given, jax.random.key(n)) for n in (0, 1))
    plain = called(model, given)
    assert np.abs(one - two).max() > 1e-3
    assert np.abs(one - plain).max() > 1e-3
    np.testing.assert_array_equal(one, called(model, given, jax.random.key(0)))
    np.testing.assert_array_equal(plain, called(model, given))


def test_lead_times_are_embedded_as_cosines_and_sines():
    found = np.asarray(sinusoids(jnp.array([1, 32], jnp.int32), 32))
    for row, lead in zip(found, (1, 32), strict=True):
        for i in range(16):
            angle = lead / 10_000 ** (2 * i / 32)
            assert row[i] == pytest.approx(np.cos(angle), abs=1e-5)
            assert row[16 + i] == pytest.approx(np.sin(angle), abs=1e-5)


def test_volumes_that_cannot_be_resampled_are_refused(small):
    c = small()
    definition, state = nnx.split(nnx.eval_shape(lambda: UNet(c, rngs=nnx.Rngs(0))))
    frames = jax.ShapeDtypeStruct((2, c.context, 4, 7, 3), jnp.float32)
    lead = jax.ShapeDtypeStruct((2,), jnp.int32)
    with pytest.raises(InvalidInput, match=r"y is 7, expected a multiple of 2 .*: 6 or 8"):
        jax.eval_shape(lambda s, f, h: nnx.merge(definition, s)(f, h), state, frames, lead)


@pytest.mark.parametrize(
    ("changes", "given", "message"),
    [
        ({}, {}, "a lead-time head is called with a lead time"),
        ({"head": "direct"}, {"lead": (2,)}, "a direct head is called without a lead time"),
        ({}, {"lead": (2,), "frames": (2, 4, 4, 6, 3)}, r"expected \[batch, 3, x, y, z\]"),
        ({}, {"lead": (2,), "past_stimulus": (2, 3, 1)}, "past stimulus is given, unlike"),
        ({"future_stimulus": 2}, {"lead": (2,)}, "future stimulus is not given, unlike"),
    ],
)
def test_calls_that_do_not_fit_are_refused(small, changes, given, message):
    c: Configuration = small(**changes)
    shapes = {"frames": (2, 3, 4, 6, 3), **given}
    model = nnx.eval_shape(lambda: UNet(c, rngs=nnx.Rngs(0)))
    definition, state = nnx.split(model)
    described = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    with pytest.raises(UsageError, match=message):
        jax.eval_shape(lambda s, g: nnx.merge(definition, s)(**g), state, described)
