"""What zapeval loads before it is asked to do anything: little."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "jax",
    "pandas",
    "matplotlib",
    "altair",
    "fastapi",
    "starlette",
    "sqlalchemy",
    "torch",
    "tensorflow",
}
"""What `import zapeval` and `zapeval --help` do not load."""

SLOW = {"numba", "tensorstore"}
"""What `zapeval --help` does not load either: it would not answer at once."""

PROBE = """
import atexit, runpy, sys
tried = set()

class Watch:
    @staticmethod
    def find_spec(name, path=None, target=None):
        tried.add(name.partition(".")[0])

@atexit.register
def report():
    print("\\nloaded:", *sorted(tried), file=sys.stderr)

sys.meta_path.insert(0, Watch)
"""
"""Lists at exit every package that was looked for, those too that are not installed here."""


def packages_tried(program, folder):
    """Returns what a fresh interpreter printed, and the packages that it tried to import."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE + program],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, set(done.stderr.rpartition("loaded:")[2].split())


def test_import_loads_nothing_heavy(tmp_path):
    _, tried = packages_tried("import zapeval", tmp_path)
    assert "zapeval" in tried
    assert tried & HEAVY == set()


def test_help_loads_nothing_heavy_or_slow(tmp_path):
    program = "sys.argv = ['zapeval', '--help']\nrunpy.run_module('zapeval', run_name='__main__')"
    printed, tried = packages_tried(program, tmp_path)
    assert "Usage" in printed
    assert {"zapeval", "typer"} <= tried
    assert tried & (HEAVY | SLOW) == set()


@pytest.mark.parametrize(
    "statement", ["import torch", "__import__('importlib').import_module('torch')"]
)
def test_a_guarded_import_is_seen_even_of_what_is_not_installed(tmp_path, statement):
    program = f"try:\n    {statement}\nexcept ImportError:\n    pass"
    assert "torch" in packages_tried(program, tmp_path)[1]
