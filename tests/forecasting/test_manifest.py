from __future__ import annotations

import json

import pytest
from builders import horizon_case, manifest
from pydantic import ValidationError

from baselines.naive import Persistence
from baselines.timeseries.forecasters import Linear
from zapeval.errors import InvalidInput
from zapeval.forecasting.composition import Ensembled
from zapeval.forecasting.manifest import GridPart, Manifest, read_manifest, said_of
from zapeval.recordings.grid import Grid


def attributes(**changes):
    """Returns the attributes of a store, changed at some top-level names."""
    grid = GridPart(offset=(1, 0, 2), stride=(4, 4, 1))
    return manifest(horizon_case().benchmark, grid=grid).to_attributes() | changes


def refused(said, **changes):
    with pytest.raises(InvalidInput, match=rf"store: manifest: {said}"):
        read_manifest(attributes(**changes), "store")


def test_manifest_comes_back_equal_through_json():
    found = read_manifest(json.loads(json.dumps(attributes())), "store")
    assert found == manifest(horizon_case().benchmark, grid=found.grid)
    assert found.to_attributes() == attributes()


def test_attributes_have_the_promised_names():
    assert attributes()["schema"] == "zapeval.predictions/1"
    assert set(attributes()) == {
        *("schema", "benchmark", "context", "data", "forecaster", "software", "created", "grid")
    }
    assert set(attributes()["benchmark"]) == {"id", "version", "digest"}
    assert set(attributes()["forecaster"]) == {
        *("name", "version", "parameters", "seed", "covariates", "training_data"),
        *("leaks", "code", "checkpoint", "cost"),
    }


def test_grid_is_that_of_the_segmentation():
    found = read_manifest(attributes(), "store")
    assert found.grid.grid() == Grid(offset=(1, 0, 2), stride=(4, 4, 1))


def test_grid_is_optional():
    assert read_manifest(attributes(grid=None), "store").grid is None


def test_attributes_without_a_schema_are_no_manifest():
    assert read_manifest({}, "store") is None
    assert read_manifest({"author": "somebody"}, "store") is None


def test_other_schema_is_refused():
    refused(r"schema.*expected 'zapeval\.predictions/1'", schema="zapeval.predictions/2")
    refused(r"schema.*expected 'zapeval\.predictions/1'", schema=None)


def test_unknown_key_is_refused_by_its_place():
    refused("colour: Extra inputs", colour="red")
    refused("benchmark.colour: Extra inputs", benchmark=attributes()["benchmark"] | {"colour": 1})


@pytest.mark.parametrize("name", ["benchmark", "context", "forecaster"])
def test_missing_key_is_refused_by_its_name(name):
    said = attributes()
    del said[name]
    with pytest.raises(InvalidInput, match=f"store: manifest: {name}: Field required"):
        read_manifest(said, "store")


@pytest.mark.parametrize("context", [0, -4, 1.5, "four", None])
def test_context_is_a_whole_number_from_one(context):
    refused("context: ", context=context)


@pytest.mark.parametrize("created", ["x" * 2001, 5, None])
def test_text_is_text_of_a_bounded_length(created):
    refused("created: ", created=created)


@pytest.mark.parametrize(
    "grid", [{"offset": [-1, 0, 0]}, {"offset": [0, 0]}, {"stride": [1, 1, 1.5]}, {"shift": 1}]
)
def test_grid_is_three_whole_numbers_an_axis(grid):
    refused(r"grid\.", grid=grid)


def test_manifest_cannot_be_changed():
    found = read_manifest(attributes(), "store")
    assert isinstance(found, Manifest)
    with pytest.raises(ValidationError):
        found.context = 5


def test_the_code_of_a_composition_is_that_of_its_parts_too():
    alone = said_of(Ensembled([Persistence()])).code
    assert alone != said_of(Ensembled([Linear(steps=1)])).code
    assert alone == said_of(Ensembled([Persistence(), Persistence()])).code
    assert alone != said_of(Persistence()).code
