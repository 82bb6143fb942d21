"""The distributions: what a wheel and an sdist hold, and that the sdist installs."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from documents import PROJECT

PACKAGES = ("zapeval", "baselines", "submissions", "leaderboard")
METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
NAME = f"zapeval-{METADATA['version']}"

BESIDE = {
    *("CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md", "SECURITY.md"),
    *(".gitignore", "PKG-INFO", "constraints.txt", "pyproject.toml"),
}
"""What an sdist holds beside the packages; hatchling adds the settings of git."""

NEEDED = (
    "zapeval/py.typed",
    "zapeval/benchmarks/zebrafish-regions.toml",
    "leaderboard/migrations/env.py",
    "leaderboard/migrations/script.py.mako",
    "leaderboard/static/site.css",
    "leaderboard/static/site.js",
    "leaderboard/templates/base.html",
    "submissions/entries/persistence/fact-sheet.toml",
    "submissions/entries/persistence/persistence-c4.json",
    "submissions/entries/persistence/persistence-c4.windows.npz",
)
"""One of each kind of file that is no module; all of them are compared besides."""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with both, built as `make dist` does, without a network."""
    folder = tmp_path_factory.mktemp("dist")
    build(PROJECT, folder, "-t", "wheel", "-t", "sdist")
    return folder


def build(project, folder, *targets):
    command = [sys.executable, "-m", "hatchling", "build", *targets, "-d", str(folder)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(built):
    return zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl")


@pytest.fixture(scope="module")
def sdist(built):
    return tarfile.open(built / f"{NAME}.tar.gz")


def kept():
    """Returns every file of the packages in the working tree."""
    return {
        path.relative_to(PROJECT).as_posix()
        for package in PACKAGES
        for path in (PROJECT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def names_in(sdist):
    prefix = f"{NAME}/"
    return {one.name.removeprefix(prefix) for one in sdist.getmembers() if one.isfile()}


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel):
    inside = {name for name in wheel.namelist() if not name.startswith(f"{NAME}.dist-info/")}
    assert inside == kept()
    assert set(NEEDED) <= inside
    assert any(name.startswith("leaderboard/migrations/versions/") for name in inside)


def test_the_sdist_holds_the_same_and_what_describes_it(sdist):
    inside = names_in(sdist)
    assert inside - kept() == BESIDE
    assert kept() <= inside


def test_nothing_larger_than_a_megabyte_is_packed_but_window_sums(wheel):
    large = [one.filename for one in wheel.infolist() if one.file_size > 1_000_000]
    assert [name for name in large if not name.endswith(".windows.npz")] == []


def test_the_wheel_says_what_pyproject_says(wheel):
    said = Parser().parsestr(wheel.read(f"{NAME}.dist-info/METADATA").decode())
    assert said["License-Expression"] == METADATA["license"] == "Apache-2.0"
    assert set(said.get_all("Provides-Extra")) == set(METADATA["optional-dependencies"])
    assert said["Requires-Python"] == METADATA["requires-python"]
    assert f"{NAME}.dist-info/licenses/LICENSE" in wheel.namelist()
    entry_points = wheel.read(f"{NAME}.dist-info/entry_points.txt").decode()
    for group in ("console_scripts", *METADATA["entry-points"]):
        assert f"[{group}]" in entry_points


def test_an_extra_for_all_brings_every_other_that_users_install():
    extras = METADATA["optional-dependencies"]
    (all_of_it,) = extras["all"]
    named = set(all_of_it.removeprefix("zapeval[").removesuffix("]").split(","))
    assert named == set(extras) - {"all", "dev", "docs"}


def test_the_sdist_installs_and_what_is_installed_runs(built, tmp_path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-index"]
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--target", str(tmp_path / "there")]
    archive = str(built / f"{NAME}.tar.gz")
    done = subprocess.run([*pip, *options, archive], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    code = "import zapeval, sys; from zapeval.cli.app import main; print(zapeval.__file__); main()"
    ran = subprocess.run(
        [sys.executable, "-c", code, "benchmarks", "show", "zebrafish-regions"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "there")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert Path(ran.stdout.split()[0]).is_relative_to(tmp_path)
