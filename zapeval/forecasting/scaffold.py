"""A scaffold: the package of a new forecaster, ready to install."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import keyword
import re
import sys
from pathlib import Path

from zapeval.errors import UsageError
from zapeval.forecasting.template import LEARNING, PLAIN, PROJECT, README, TESTS
from zapeval.recordings.writer import beside
from zapeval.registry import FORECASTERS, plugins

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_LONGEST = 32
_RESERVED = ("conftest", "setup", "tests")
"""Modules that pytest and installers look for, and the folder of the tests."""


def write_package(name: str, folder: Path, *, learns: bool = False) -> Path:
    """Writes a package with a forecaster that works, and returns its folder.

    Args:
        name: What the forecaster and its package are called ("my-model").
        folder: Where the package's folder, of the same name, is made.
        learns: Whether the forecaster is one that is fitted.

    Raises:
        UsageError: The name can't be used, or is taken.
        InvalidInput: The folder is there.
        StorageError: It could not be written.
    """
    check_name(name)
    path = folder / name
    with beside(path) as partial:
        for file, text in package_files(name, learns=learns).items():
            (partial / file).parent.mkdir(exist_ok=True)
            (partial / file).write_text(text, encoding="utf-8")
    return path


def package_files(name: str, *, learns: bool = False) -> dict[str, str]:
    """Returns the files of a package, path to text."""
    module = module_name(name)
    files = {
        "pyproject.toml": PROJECT,
        "README.md": README[learns],
        f"{module}.py": LEARNING if learns else PLAIN,
        f"tests/test_{module}.py": TESTS,
    }
    made = "".join(part.capitalize() for part in module.split("_"))
    words = {"@NAME@": name, "@MODULE@": module, "@CLASS@": made}
    return {file: _filled(text, words) for file, text in files.items()}


def module_name(name: str) -> str:
    """Returns the name of a package's module."""
    return name.replace("-", "_")


def check_name(name: str) -> None:
    """Checks that a new forecaster, its package and its module can have that name.

    Raises:
        UsageError: They can't, or something else has it; says what.
    """
    module = module_name(name)
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise UsageError(
            f"{name}: expected a name of small letters and digits, with - or _ between words, "
            f"at most {_LONGEST} characters: my-model"
        )
    known = plugins(FORECASTERS)
    if name in known:
        plugin = known[name]
        raise UsageError(
            f"{name}: is registered by {plugin.package} ({plugin.target}); choose another name"
        )
    if keyword.iskeyword(module) or module in (*sys.stdlib_module_names, *_RESERVED):
        raise UsageError(f"{name}: Python or its tools use {module!r}; choose another name")
    _check_free(name, module)


def _check_free(name: str, module: str) -> None:
    """Checks that what is written would hide nothing that is installed, nor replace it."""
    spec = importlib.util.find_spec(module)
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        # A folder of that name, which has no origin, is in nobody's way.
        if spec is not None and spec.origin is not None:
            raise UsageError(
                f"{name}: a module of that name is installed, {spec.origin}; choose another name"
            ) from None
    else:
        raise UsageError(f"{name}: a package of that name is installed; choose another name")


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text
