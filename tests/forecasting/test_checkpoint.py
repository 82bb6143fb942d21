from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import learning
import numpy as np
import pytest
from learning import CONTEXT

from zapeval.errors import BrokenPlugin, InvalidInput, NotFound, UsageError
from zapeval.forecasting.checkpoint import (
    check_fitted,
    load_checkpoint,
    model_digest,
    read_checkpoint,
)
from zapeval.forecasting.forecast import manifest_of
from zapeval.forecasting.forecaster import Forecaster
from zapeval.forecasting.train import train


class Offset(Forecaster):
    """Learns one number."""

    name = "offset"
    version = "1"
    size = 1

    def __init__(self, **parameters):
        self._parameters = parameters
        self.value = None

    @property
    def parameters(self):
        return self._parameters

    def fit(self, training):
        self.value = np.float32(training.seed)

    def save(self, folder):
        (folder / "layers").mkdir()
        np.save(folder / "value.npy", self.value)
        np.save(folder / "layers" / "0.npy", np.arange(9))

    def load(self, folder):
        self.value = np.load(folder / "value.npy")

    def forecast(self, contexts):
        return np.repeat(contexts.activity[:, -1:], contexts.horizon, axis=1) + self.value


class Renamed(Offset):
    name = "other"


class Renewed(Offset):
    version = "2"


class Plain(Forecaster):
    name = "plain"

    def forecast(self, contexts):
        raise NotImplementedError


@pytest.fixture
def made(tmp_path):
    train(
        Offset(),
        learning.benchmark(),
        learning.opened(tmp_path / "data"),
        tmp_path / "out/seed-3",
        context=CONTEXT,
        seed=3,
    )
    return tmp_path / "out/seed-3"


def load(folder, forecaster=None, benchmark=None, *, context=CONTEXT, neurons=6):
    recordings = learning.opened(folder.parents[1] / "other", neurons=neurons)
    forecaster = forecaster or Offset()
    benchmark = benchmark or learning.benchmark()
    return load_checkpoint(forecaster, folder, benchmark, recordings, context)


def test_what_fits_is_taken_up(made):
    forecaster = Offset()
    found = load(made, forecaster)
    assert forecaster.value == 3
    assert found == read_checkpoint(made)


MISFITS = {
    "forecaster": ({"forecaster": Renamed()}, "forecaster offset, expected other"),
    "version": ({"forecaster": Renewed()}, "version 1, expected 2"),
    "parameters": ({"forecaster": Offset(width=2)}, r"parameters \{\}, expected \{'width': 2\}"),
    "benchmark": (
        {"benchmark": replace(learning.benchmark(), version=2)},
        "benchmark oscillators@1, expected oscillators@2",
    ),
    "digest": (
        {"benchmark": learning.benchmark(mask=(True,) * 5 + (False,))},
        r"benchmark sha256:\w+, expected sha256:\w+",
    ),
    "context": ({"context": 5}, "context length 8, expected 5"),
    "neurons": ({"neurons": 4}, "neurons of recording 'fish0' 6, expected 4"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_refused_and_named(made, name):
    options, says = MISFITS[name]
    with pytest.raises(InvalidInput, match=rf"seed-3: was trained for {says}; train one that fits"):
        load(made, **options)


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "a flipped bit": lambda model: flip(model / "value.npy"),
    "a flipped bit below": lambda model: flip(model / "layers" / "0.npy"),
    "a file cut short": lambda model: (model / "value.npy").write_bytes(b""),
    "a file that is gone": lambda model: (model / "value.npy").unlink(),
    "one file more": lambda model: (model / "more").write_text(""),
    "two files exchanged": lambda model: (
        (model / "value.npy").rename(model / "x"),
        (model / "layers" / "0.npy").rename(model / "value.npy"),
        (model / "x").rename(model / "layers" / "0.npy"),
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_model_is_refused_before_it_is_loaded(made, name):
    class Careful(Offset):
        def load(self, folder):
            raise AssertionError

    DAMAGE[name](made / "model")
    with pytest.raises(InvalidInput, match=r"seed-3/model: its files were changed or damaged"):
        load(made, Careful())


def test_digest_is_the_sha256_of_the_files_names_and_digests_in_order(made):
    files = [made / "model" / "layers" / "0.npy", made / "model" / "value.npy"]
    digests = (hashlib.sha256(file.read_bytes()).digest() for file in files)
    inner = b"layers/0.npy\nvalue.npy" + b"".join(digests)
    expected = "sha256:" + hashlib.sha256(inner).hexdigest()
    assert model_digest(made / "model") == expected == read_checkpoint(made).model


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(0), KeyError("no")])
def test_load_that_raises_is_the_forecasters_fault(made, error):
    class Broken(Offset):
        def load(self, folder):
            raise error

    says = rf"offset: could not load .*seed-3/model: {type(error).__name__}: "
    with pytest.raises(BrokenPlugin, match=says):
        load(made, Broken())


def test_folder_of_several_seeds_names_them(made):
    for seed in ("seed-4", "notes"):
        (made.parent / seed).mkdir()
    (made.parent / "seed-4" / "checkpoint.json").write_bytes(
        (made / "checkpoint.json").read_bytes()
    )
    with pytest.raises(NotFound, match=r"out: holds no .*; it holds seed-3, seed-4: give one of"):
        read_checkpoint(made.parent)


def test_folder_without_a_checkpoint_is_named(made):
    with pytest.raises(NotFound, match=r"model: holds no checkpoint\.json$"):
        read_checkpoint(made / "model")
    with pytest.raises(NotFound, match=r"nowhere: does not exist; make it with: zapeval train"):
        read_checkpoint(made.parent / "nowhere")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": "zapeval.checkpoint/2"}, "schema: Input should be 'zapeval.checkpoint/1'"),
        ({"context": 0}, "context: Input should be greater"),
        ({"more": 1}, "more: Extra inputs"),
        ({"neurons": {"fish0": "six"}}, "neurons.fish0: Input should be a valid integer"),
    ],
)
def test_checkpoint_that_breaks_the_schema_is_refused_by_its_place(made, change, says):
    path = made / "checkpoint.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InvalidInput, match=rf"checkpoint\.json: {says}"):
        read_checkpoint(made)


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff"])
def test_checkpoint_that_is_no_json_object_is_refused(made, text):
    (made / "checkpoint.json").write_text(text, encoding="latin-1")
    with pytest.raises(InvalidInput, match=r"checkpoint\.json"):
        read_checkpoint(made)


def test_manifest_of_the_predictions_says_what_was_trained(made):
    forecaster = Offset()
    found = load(made, forecaster)
    said = manifest_of(forecaster, learning.benchmark(), CONTEXT, found).forecaster
    assert (said.seed, said.training_data) == (3, "training frames of oscillators@1")
    assert (said.checkpoint, said.cost) == (model_digest(made / "model"), found.cost)
    without = manifest_of(Plain(), learning.benchmark(), CONTEXT).forecaster
    assert (without.seed, without.checkpoint, without.cost) == (None, "", None)


def test_checkpoint_is_given_if_and_only_if_the_forecaster_learns(tmp_path):
    check_fitted(Plain(), None)
    check_fitted(Offset(), tmp_path)
    says = r"offset: has to be trained; run zapeval train NAME -b ID --out DIR, then give"
    with pytest.raises(UsageError, match=says):
        check_fitted(Offset(), None)
    with pytest.raises(UsageError, match="plain: learns nothing, so it takes no checkpoint"):
        check_fitted(Plain(), tmp_path)
