from __future__ import annotations

import numpy as np
import pytest
from builders import distribution

from zapeval.benchmarks.catalogue import find_recipe
from zapeval.benchmarks.synthetic import Mini, Smoke
from zapeval.benchmarks.zapbench import ZapBench
from zapeval.errors import BrokenPlugin, InvalidInput, NotFound

RECIPE = """
from zapeval.benchmarks.recipe import Recipe

class Own(Recipe):
    id, version, title = "own", 3, "A benchmark of somebody's own"

    def recordings(self, data=None):
        raise NotImplementedError

    def resolve(self, recordings):
        raise NotImplementedError

made = Own()
number = 5
"""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("zapbench", ZapBench),
        ("zapbench@1", ZapBench),
        ("zapbench-mini", Mini),
        ("zapbench-mini@1", Mini),
        ("zapbench-smoke", Smoke),
    ],
)
def test_benchmark_is_found_by_name_and_version(name, kind):
    assert isinstance(find_recipe(name), kind)


@pytest.mark.parametrize("version", ["2", "0", "01", "1.0", "one", ""])
def test_other_version_says_which_is_known(version):
    with pytest.raises(NotFound, match=f"'zapbench@{version}': known version: zapbench@1"):
        find_recipe(f"zapbench@{version}")


def test_unknown_benchmark_lists_the_known_and_the_nearest():
    with pytest.raises(NotFound) as caught:
        find_recipe("zapbenhc")
    text = str(caught.value)
    assert "benchmark 'zapbenhc': is not registered" in text
    assert "known: " in text
    assert "zapbench, zapbench-mini, zapbench-smoke" in text
    assert "did you mean 'zapbench'?" in text


def test_class_and_instance_of_another_package_are_found(tmp_path, monkeypatch):
    distribution(
        tmp_path,
        monkeypatch,
        "theirs",
        {"zapeval.benchmarks": {"own": "theirs:Own", "made": "theirs:made"}},
        RECIPE,
    )
    for name in ("own", "own@3", "made"):
        assert find_recipe(name).title == "A benchmark of somebody's own"


def test_plugin_that_is_no_recipe_is_broken(tmp_path, monkeypatch):
    distribution(
        tmp_path, monkeypatch, "theirs", {"zapeval.benchmarks": {"five": "theirs:number"}}, RECIPE
    )
    with pytest.raises(BrokenPlugin, match="five: is a int, expected a Recipe"):
        find_recipe("five")


def test_toml_file_defines_a_benchmark(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((300, 2), np.float32))
    with pytest.raises(NotFound, match=r"own\.toml: does not exist"):
        find_recipe(str(tmp_path / "own.toml"))
    (tmp_path / "own.toml").write_text("[benchmark")
    with pytest.raises(InvalidInput, match=r"own\.toml: is no valid TOML"):
        find_recipe(str(tmp_path / "own.toml"))
