"""The catalogue: a benchmark by the name that a user types."""

from __future__ import annotations

from zapeval.benchmarks.recipe import Recipe
from zapeval.errors import BrokenPlugin, NotFound
from zapeval.registry import BENCHMARKS, find


def find_recipe(name: str) -> Recipe:
    """Returns the recipe of ``ID``, ``ID@VERSION`` or ``FILE.toml``.

    Raises:
        NotFound: There is no such benchmark or version; lists the known ones.
        InvalidInput: The file defines no benchmark.
        BrokenPlugin: The plugin of that name is no recipe.
    """
    if name.endswith(".toml"):
        from zapeval.benchmarks.own import read_own

        return read_own(name)
    identifier, at, version = name.partition("@")
    found = find(BENCHMARKS, identifier)
    recipe = found() if isinstance(found, type) else found
    if not isinstance(recipe, Recipe):
        raise BrokenPlugin(f"{identifier}: is a {type(recipe).__name__}, expected a Recipe")
    if at and version != str(recipe.version):
        raise NotFound(f"benchmark {name!r}: known version: {identifier}@{recipe.version}")
    return recipe
