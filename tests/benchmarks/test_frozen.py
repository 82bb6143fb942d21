"""The benchmarks that people hold scores under, frozen by digest."""

from __future__ import annotations

import pytest

from zapeval.benchmarks.catalogue import find_recipe
from zapeval.benchmarks.celegans.tasks import TASKS, Entry, benchmark_over
from zapeval.registry import BENCHMARKS, plugins

COMPLETE = {
    "zapbench@1": "7615d637a83c3acf44e98f270f932bf350ee16b729ba7a8c81cb1b890d489056",
    "zapbench-mini@1": "4c88d9dcf308a8788e2057197a7311a007a13f884b777b983121cdde085ccea9",
    "zebrafish-regions@1": "b91a88d66e75b45c773d0072c099b81d2460b0bc28191e2836e2a229175c1d5e",
    "sines@1": "9a2cd8b342fad88791307d6b0ebb1ee1b163ec77f8ae66495e8e38a384b5aee3",
    "sines-small@1": "d87dedb0370655338b6e467fe535d555e29ac7f659cee72f25a9b7c808484bfc",
    "random-walk@1": "764debe94657f8f5e85770ef68f1d6778490668b768c6a0edff358aab11325d8",
    "random-walk-small@1": "e4f96e1282ca1ce107abf7ac70a703d1ca8859bbc13d353ce991b76037ea0244",
}
"""SHA-256 by benchmark, of those that are complete without their recordings."""

WORMS = (("even", 1600, 102), ("odd", 1111, 50), ("barely", 724, 302))
"""Name, frames and labelled neurons of the worms that the recipes below are resolved over."""

RECIPES = {
    "celegans@1": "8006ca8516c620e5d418e09a83351ea36b6403a6a51d7fccfb450fbe1c41cce3",
    "celegans-generation@1": "762bd92b6d1471c2924cfac8689084b21e4e751d4cc551dab082a3b77beadd89",
    "celegans-three-way@1": "d04755b137e19a42adca0a55f31e92ae84f6fbaa521ed45c40defc1d63ba63d1",
}
"""SHA-256 by benchmark, of those that are made of whatever worms there are: over these worms."""

FREE = {"zapbench-smoke@0"}
"""Version 0 is free to change."""

CHANGED = (
    "what determines scores of {0} has changed: people hold scores under this digest, so make it "
    "a new version and leave this one as it was"
)


@pytest.mark.parametrize(("name", "sha256"), COMPLETE.items(), ids=COMPLETE)
def test_a_complete_benchmark_is_what_it_was(name, sha256):
    recipe = find_recipe(name)
    benchmark = recipe.resolve(recipe.recordings())
    assert benchmark.digest == f"sha256:{sha256}", CHANGED.format(name)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_a_recipe_makes_of_the_same_worms_what_it_made(task):
    name = f"{task.id}@{task.version}"
    assert benchmark_over(task, worms()).digest == f"sha256:{RECIPES[name]}", CHANGED.format(name)


def test_every_benchmark_with_a_version_is_frozen():
    recipes = [find_recipe(name) for name, one in plugins(BENCHMARKS).items() if ours(one)]
    known = {f"{recipe.id}@{recipe.version}" for recipe in recipes}
    assert known == COMPLETE.keys() | RECIPES.keys() | FREE
    assert all(name.endswith("@0") for name in FREE)


def worms():
    """Returns what a benchmark is told of worms with an even and an odd number of frames."""
    return [
        Entry(
            key=f"{name}@1",
            name=name,
            source="sample",
            frames=frames,
            mask=tuple(slot < labelled for slot in range(302)),
        )
        for name, frames, labelled in WORMS
    ]


def ours(plugin):
    return plugin.package == "zapeval"
