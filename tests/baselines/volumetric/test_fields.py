import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from baselines.volumetric.blocks import Norm
from baselines.volumetric.configuration import LEVELS, Configuration, named
from baselines.volumetric.fields import exact_field, receptive_field, seen_from
from baselines.volumetric.sizes import output_size
from baselines.volumetric.unet import UNet


@pytest.mark.parametrize(
    ("levels", "formula", "exact"),
    [
        (0, (21, 21, 21), (21, 21, 21)),
        (1, (32, 32, 16), (50, 50, 33)),
        (2, (64, 64, 32), (110, 110, 62)),
        (3, (128, 128, 64), (226, 226, 122)),
        (4, (256, 256, 128), (466, 466, 242)),
    ],
)
def test_fields_of_the_papers_levels(levels, formula, exact):
    configuration = Configuration(context=4, resampling=LEVELS[:levels])
    assert receptive_field(configuration) == formula
    assert exact_field(configuration) == exact


def test_named_configurations_bear_their_field():
    for name in ("S21", "S64", "S256"):
        assert receptive_field(named(name, context=4))[:2] == (int(name[1:]), int(name[1:]))


class Measured:
    """A model without norms and of positive weights: whatever can reach an output voxel does."""

    def __init__(self, configuration, volume, quick):
        abstract = nnx.eval_shape(lambda: UNet(configuration, rngs=nnx.Rngs(0)))
        definition, shapes = nnx.split(abstract)
        rng = np.random.default_rng(0)
        state = jax.tree.map(
            lambda leaf: jnp.asarray(rng.uniform(0.05, 0.15, leaf.shape), leaf.dtype), shapes
        )

        def picked(frames, voxel):
            return nnx.merge(definition, state)(frames)[0][tuple(voxel)].sum()

        self._gradients = quick(jax.vmap(jax.grad(picked), in_axes=(None, 0)))
        self._frames = jnp.zeros((1, configuration.context, *volume))

    def __call__(self, voxels):
        """Returns, for each output voxel, the first and last input voxel that moves it."""
        for each in np.asarray(self._gradients(self._frames, jnp.array(voxels, jnp.int32))):
            places = np.argwhere(each.any((0, 1)))
            yield list(zip(places.min(0).tolist(), places.max(0).tolist(), strict=True))


def expected(configuration, volume, voxel):
    """Returns the interval by arithmetic, within the borders."""
    found = [seen_from(configuration, axis, voxel[axis]) for axis in range(3)]
    return [(max(a, 0), min(b, n - 1)) for (a, b), n in zip(found, volume, strict=True)]


TINY = {"features": 1, "upsampled_features": 1, "context": 1, "groups": 1, "horizon": 1}


@pytest.mark.parametrize(
    ("changes", "volume", "axis"),
    [
        ({"resampling": (), "blocks": 3}, (3, 3, 24), 2),
        ({"skip": "concat", "resampling": LEVELS[:2]}, (64, 4, 2), 0),
        ({"resampling": LEVELS[:2]}, (4, 4, 36), 2),
        ({"resampling": ((3, 2, 1),), "upsampling": ((2, 2, 1), (1, 3, 1))}, (3, 40, 2), 1),
    ],
)
def test_the_exact_field_is_the_measured_one(small, quick, monkeypatch, changes, volume, axis):
    monkeypatch.setattr(Norm, "__call__", lambda _, volumes: volumes)
    c = small(**{**TINY, "head": "direct", **changes})
    size, period = output_size(c, volume)[axis], c.coarsest[axis] * c.finest[axis]
    along = [0, *range(size // 2, size // 2 + period), size - 1]
    voxels = [tuple(n if a == axis else 1 for a in range(3)) for n in along]
    measured = list(Measured(c, volume, quick)(voxels))
    assert measured == [expected(c, volume, voxel) for voxel in voxels]
    sizes = [each[axis][1] - each[axis][0] + 1 for each in measured]
    assert max(sizes) == exact_field(c)[axis]
    assert sizes[0] < max(sizes), "the border cuts a field"


def test_the_papers_widest_field_is_the_measured_one(quick, monkeypatch):
    monkeypatch.setattr(Norm, "__call__", lambda _, volumes: volumes)
    c, volume = named("S256", **TINY, head="direct"), (512, 16, 8)
    spans = {x: seen_from(c, 0, x) for x in range(volume[0])}
    inside = [x for x, (a, b) in spans.items() if a > 0 and b < volume[0] - 1]
    voxel = max(inside, key=lambda x: spans[x][1] - spans[x][0]), 5, 3
    (found,) = Measured(c, volume, quick)([voxel])
    assert found == expected(c, volume, voxel)
    assert found[0][1] - found[0][0] + 1 == exact_field(c)[0] == 466
