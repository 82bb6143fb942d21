"""Commands that packages contribute: found by name, loaded when used, broken alone."""

from __future__ import annotations

import sys

import pytest
from cli.test_commands import package, zapeval
from test_light import HEAVY, SLOW, packages_tried

from zapeval.cli.contributed import first_line
from zapeval.registry import COMMANDS, plugins

HELLO = '''"""``zapeval hello``: greets whoever is named."""

import typer

print("loaded")
app = typer.Typer(add_completion=False)


@app.command()
def hello(name: str) -> None:
    """Greet."""
    typer.echo(f"hello {name}")
'''


def installed(folder, name, code, points=None):
    return package(folder, name, COMMANDS, points or {name: f"{name}:app"}, code)


def test_ours_use_the_public_door():
    targets = {name: plugin.target for name, plugin in plugins(COMMANDS).items()}
    assert targets["entries"] == "submissions.cli.entries:app"
    assert targets["receipt"] == "submissions.cli.receipt:app"


def test_help_names_what_is_contributed_and_loads_none_of_it(tmp_path):
    program = "sys.argv = ['zapeval', '--help']\nrunpy.run_module('zapeval', run_name='__main__')"
    installed(tmp_path, "hello", HELLO)
    printed, tried = packages_tried(f"sys.path.append({str(tmp_path)!r})\n{program}", tmp_path)
    for line in ("hello", "Greets whoever is named.", "entries", "receipt"):
        assert line in printed
    assert "loaded" not in printed
    assert tried & (HEAVY | SLOW | {"submissions", "hello", "cryptography"}) == set()


@pytest.mark.parametrize("command", [("entries",), ("entries", "check"), ("receipt", "verify")])
def test_help_of_a_contributed_command_is_light(command, tmp_path):
    words = ["zapeval", *command, "--help"]
    program = f"sys.argv = {words!r}\nrunpy.run_module('zapeval', run_name='__main__')"
    printed, tried = packages_tried(program, tmp_path)
    assert f"Usage: zapeval {' '.join(command)}" in printed
    assert "--install-completion" not in printed
    assert tried & (HEAVY | SLOW | {"cryptography"}) == set()


def test_a_contributed_command_runs(tmp_path):
    folder = installed(tmp_path, "hello", HELLO)
    done = zapeval("hello", "you", folder=folder)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "loaded\nhello you\n")
    done = zapeval("hello", folder=folder)
    assert (done.returncode, "Missing argument" in done.stderr) == (2, True)
    done = zapeval("hello", "--help", folder=folder)
    assert (done.returncode, "Greet." in done.stdout) == (0, True)


def test_an_unknown_command_is_a_usage_error(run):
    done = run("entreis")
    assert (done.code, done.out) == (2, "")
    assert "No such command 'entreis'" in done.err


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that"),
        ("raise SystemExit(7)", "SystemExit: 7"),
        ("x = (", "SyntaxError: "),
        ("y = 1", "AttributeError: module 'broken' has no attribute 'app'"),
        ("app = 3", "broken: broken:app of package broken is a int, expected a typer.Typer"),
        ("import typer\napp = typer.Typer()", "makes no command: "),
    ],
)
def test_a_broken_command_breaks_nothing_else(tmp_path, code, says):
    folder = installed(tmp_path, "broken", code)
    shown = zapeval("--help", folder=folder)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert " broken " in shown.stdout
    listed = zapeval("benchmarks", "list", folder=folder)
    assert (listed.returncode, listed.stderr) == (0, "")
    used = zapeval("broken", folder=folder)
    assert (used.returncode, used.stdout) == (3, "")
    assert says in used.stderr
    assert "Traceback" not in used.stderr


def test_a_command_whose_module_is_not_there_breaks_itself_alone(tmp_path):
    folder = installed(tmp_path, "empty", "", {"gone": "nowhere.at.all:app", "odd": "empty.x:app"})
    shown = zapeval("--help", folder=folder)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert " gone " in shown.stdout
    assert zapeval("gone", folder=folder).returncode == 3
    assert zapeval("odd", folder=folder).returncode == 3


def test_two_packages_of_one_command_leave_ours_alone(tmp_path):
    for name in ("one", "two"):
        installed(tmp_path, name, HELLO, {"same": f"{name}:app"})
    shown = zapeval("--help", folder=tmp_path)
    assert shown.returncode == 0
    assert " score " in shown.stdout
    assert " same " in shown.stdout
    assert zapeval("benchmarks", "list", folder=tmp_path).returncode == 0
    used = zapeval("same", folder=tmp_path)
    assert (used.returncode, used.stdout) == (3, "")
    assert "same: is registered by " in used.stderr


def test_a_package_cannot_replace_our_own_command(tmp_path):
    folder = installed(tmp_path, "thief", HELLO, {"benchmarks": "thief:app"})
    listed = zapeval("benchmarks", "list", folder=folder)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "zapbench@1" in listed.stdout
    shown = zapeval("--help", folder=folder)
    assert "benchmarks: is zapeval's own command; package thief adds it too" in shown.stderr


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('"""``zapeval x``: does this."""\n', "Does this."),
        ('"""Does this.\n\nAnd that.\n"""', "Does this."),
        ("x = 1\n", ""),
        ('"""\n"""', ""),
        ('"""Ends', "Ends"),
    ],
)
def test_the_line_of_help_is_read_and_not_run(tmp_path, monkeypatch, text, line):
    (tmp_path / "outer_package").mkdir()
    (tmp_path / "outer_package/__init__.py").write_text("raise RuntimeError")
    (tmp_path / "outer_package/inner.py").write_text(text + "\nraise RuntimeError\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert first_line("outer_package.inner:app") == line
    assert "outer_package" not in sys.modules
    (tmp_path / "outer_package/inner.py").write_bytes(b"\xff\xfe")
    assert first_line("outer_package.inner:app") == ""
    assert first_line("outer_package.none:app") == ""
