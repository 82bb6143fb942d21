from __future__ import annotations

import inspect
import signal
import sys
import threading

import pytest
from builders import distribution

from baselines.naive import Mean, Persistence
from zapeval import registry
from zapeval.errors import BrokenPlugin, NameClash, NotFound
from zapeval.forecasting.forecaster import Forecaster
from zapeval.registry import BENCHMARKS, FORECASTERS, find, plugins

MINE = """
import numpy as np
from zapeval import Forecaster

class Mine(Forecaster):
    name = "mine"

    def forecast(self, contexts):
        windows, _, neurons = contexts.activity.shape
        return np.zeros((windows, contexts.horizon, neurons), np.float32)
"""


@pytest.fixture(autouse=True)
def import_path(monkeypatch):
    """Takes folders of plugin files out of the import path again."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(registry, "_folders", set())


def install(tmp_path, monkeypatch, name, points, code=MINE):
    distribution(tmp_path, monkeypatch, name, {FORECASTERS: points}, code)


def test_built_ins_use_the_public_door():
    assert find(FORECASTERS, "persistence") is Persistence
    assert find(FORECASTERS, "mean") is Mean
    assert {"zapbench", "zapbench-mini", "zapbench-smoke"} <= set(plugins(BENCHMARKS))
    assert {plugin.package for plugin in plugins(BENCHMARKS).values()} == {"zapeval"}


def test_installed_plugin_is_found_by_its_name(tmp_path, monkeypatch):
    assert "mine" not in plugins(FORECASTERS)
    install(tmp_path, monkeypatch, "mine_package", {"mine": "mine_package:Mine"})
    plugin = plugins(FORECASTERS)["mine"]
    assert (plugin.name, plugin.package) == ("mine", "mine_package")
    assert plugin.target == "mine_package:Mine"
    assert issubclass(find(FORECASTERS, "mine"), Forecaster)


def test_nothing_is_imported_until_it_is_asked_for(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "lazy_package", {"lazy": "lazy_package:Mine"})
    assert "lazy" in plugins(FORECASTERS)
    assert "lazy_package" not in sys.modules
    find(FORECASTERS, "lazy")
    assert "lazy_package" in sys.modules


def test_plugins_are_sorted_by_name(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "p", {"zulu": "p:Mine", "alpha": "p:Mine"})
    names = list(plugins(FORECASTERS))
    assert names == sorted(names)
    assert {"alpha", "zulu"} <= set(names)


def test_unknown_forecaster_lists_the_known_and_the_nearest():
    with pytest.raises(NotFound) as caught:
        find(FORECASTERS, "persistance")
    text = str(caught.value)
    assert "forecaster 'persistance': is not registered" in text
    assert f"known: {', '.join(plugins(FORECASTERS))}" in text
    assert "did you mean 'persistence'?" in text


def test_unknown_name_like_none_of_the_known_has_no_nearest():
    with pytest.raises(NotFound) as caught:
        find(BENCHMARKS, "qqqq")
    assert "benchmark 'qqqq'" in str(caught.value)
    assert "did you mean" not in str(caught.value)


def test_group_that_nobody_registers_in_is_empty():
    assert plugins("zapeval.nothing") == {}
    with pytest.raises(NotFound, match="nothing 'a': is not registered"):
        find("zapeval.nothing", "a")


def test_name_clash_names_both_packages(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "one_package", {"mine": "one_package:Mine"})
    install(tmp_path, monkeypatch, "other_package", {"mine": "other_package:Mine"})
    assert "mean" in plugins(FORECASTERS)
    with pytest.raises(NameClash) as caught:
        find(FORECASTERS, "mine")
    text = str(caught.value)
    assert text.startswith("mine: is registered by ")
    assert "one_package (one_package:Mine)" in text
    assert "other_package (other_package:Mine)" in text


def test_name_clash_with_a_built_in_is_an_error(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "thief", {"mean": "thief:Mine"})
    with pytest.raises(NameClash, match=r"mean: .*zapeval.*thief|mean: .*thief.*zapeval"):
        find(FORECASTERS, "mean")


def test_clash_in_one_group_leaves_the_others_alone(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "thief", {"mean": "thief:Mine"})
    assert find(BENCHMARKS, "zapbench")


BROKEN = {
    "raises": ("raise RuntimeError('out of luck')", "RuntimeError: out of luck"),
    "exits": ("import sys\nsys.exit(3)", "SystemExit: 3"),
    "lacks a library": ("import no_such_library", "No module named 'no_such_library'"),
    "is no Python": ("def f(:", "SyntaxError"),
    "lacks the class": ("", "has no attribute 'Mine'"),
    "raises no Exception": ("raise GeneratorExit('odd')", "GeneratorExit: odd"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_plugin_that_cannot_be_imported_is_broken_and_says_why(tmp_path, monkeypatch, name):
    code, said = BROKEN[name]
    install(tmp_path, monkeypatch, "bad_package", {"bad": "bad_package:Mine"}, code)
    with pytest.raises(BrokenPlugin) as caught:
        find(FORECASTERS, "bad")
    text = str(caught.value)
    assert "bad: bad_package:Mine of package bad_package can't be imported" in text
    assert said in text
    assert caught.value.__cause__ is not None


def test_broken_plugin_leaves_the_others_alone(tmp_path, monkeypatch):
    code = BROKEN["exits"][0]
    install(tmp_path, monkeypatch, "bad_package", {"bad": "bad_package:Mine"}, code)
    assert "bad" in plugins(FORECASTERS)
    assert find(FORECASTERS, "mean") is Mean


def test_interrupting_an_import_is_not_a_broken_plugin(tmp_path, monkeypatch):
    code = "raise KeyboardInterrupt"
    install(tmp_path, monkeypatch, "bad_package", {"bad": "bad_package:Mine"}, code)
    with pytest.raises(KeyboardInterrupt):
        find(FORECASTERS, "bad")


HANGS = {
    "loops": "while True:\n    pass",
    "sleeps": "import time\ntime.sleep(3600)",
    "drops what is raised": "import time\nclass Slow:\n    def __del__(self):\n"
    "        time.sleep(3600)\nslow = Slow()\ndel slow\ntime.sleep(3600)",
    "tries again": "import time\nwhile True:\n    try:\n        time.sleep(3600)\n"
    "    except Exception:\n        pass",
}


# What is raised in __del__ is dropped, and pytest warns of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", HANGS)
def test_import_that_does_not_end_is_interrupted(tmp_path, monkeypatch, name):
    handler = signal.getsignal(signal.SIGALRM)
    install(tmp_path, monkeypatch, "slow_package", {"slow": "slow_package:Mine"}, HANGS[name])
    says = r"slow: slow_package:Mine of package slow_package can't be .* did not end within 0.2 s"
    with pytest.raises(BrokenPlugin, match=says):
        plugins(FORECASTERS)["slow"].load(seconds=0.2)
    assert "slow_package" not in sys.modules
    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_import_in_time_leaves_no_alarm(tmp_path, monkeypatch):
    handler = signal.getsignal(signal.SIGALRM)
    install(tmp_path, monkeypatch, "quick_package", {"quick": "quick_package:Mine"})
    plugins(FORECASTERS)["quick"].load(seconds=60)
    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_alarm_of_somebody_else_stays_set(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "quick_package", {"quick": "quick_package:Mine"})
    try:
        signal.setitimer(signal.ITIMER_REAL, 3000)
        plugins(FORECASTERS)["quick"].load(seconds=60)
        assert 60 < signal.getitimer(signal.ITIMER_REAL)[0] <= 3000
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def test_a_thread_imports_without_a_limit(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "any_package", {"any": "any_package:Mine"})
    loaded = []
    thread = threading.Thread(target=lambda: loaded.append(find(FORECASTERS, "any")))
    thread.start()
    thread.join()
    assert [one.name for one in loaded] == ["mine"]


# path/to/file.py:Class


def test_class_of_a_file_is_found(tmp_path):
    (tmp_path / "own.py").write_text(MINE)
    found = find(FORECASTERS, f"{tmp_path / 'own.py'}:Mine")
    assert issubclass(found, Forecaster)
    assert found.name == "mine"


def test_class_of_a_file_is_found_relative_to_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    assert find(FORECASTERS, "own.py:Mine").name == "mine"


def test_file_may_hold_data_classes(tmp_path):
    # They look their module up by its name while it is imported.
    code = "from __future__ import annotations\nimport dataclasses\n"
    code += "@dataclasses.dataclass\nclass Mine:\n    a: dataclasses.KW_ONLY\n    b: int = 1\n"
    (tmp_path / "own.py").write_text(code)
    assert find(FORECASTERS, f"{tmp_path / 'own.py'}:Mine")().b == 1


def test_files_of_the_same_name_are_kept_apart(tmp_path):
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "own.py").write_text(f"class Mine:\n    number = {number}\n")
    first, second = (find(FORECASTERS, f"{tmp_path / n / 'own.py'}:Mine") for n in "12")
    assert (first.number, second.number) == (1, 2)


def test_each_class_leads_to_the_file_that_it_came_from(tmp_path):
    files = [tmp_path / number / "own.py" for number in "12"]
    for file in files:
        file.parent.mkdir()
        file.write_text(MINE)
    found = [find(FORECASTERS, f"{file}:Mine") for file in files]
    assert [inspect.getsourcefile(one) for one in found] == [str(file) for file in files]


def test_file_imports_its_neighbours(tmp_path):
    (tmp_path / "neighbour_of_own.py").write_text("number = 7")
    (tmp_path / "own.py").write_text("from neighbour_of_own import number as Mine")
    assert find(FORECASTERS, f"{tmp_path / 'own.py'}:Mine") == 7


def test_neighbours_hide_nothing_that_is_installed(tmp_path, monkeypatch):
    for name in ("colorsys", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the neighbour')")
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    (tmp_path / "own.py").write_text("import colorsys, numpy\nMine = numpy.float32")
    find(FORECASTERS, f"{tmp_path / 'own.py'}:Mine")


def test_neighbours_of_one_name_in_two_folders_are_refused(tmp_path):
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "twin_of_own.py").write_text(f"number = {number}")
        (tmp_path / str(number) / "own.py").write_text("from twin_of_own import number as Mine")
    assert find(FORECASTERS, f"{tmp_path}/1/own.py:Mine") == 1
    with pytest.raises(
        BrokenPlugin, match=r"2/own\.py: its neighbour twin_of_own\.py has the name"
    ):
        find(FORECASTERS, f"{tmp_path}/2/own.py:Mine")
    assert find(FORECASTERS, f"{tmp_path}/1/own.py:Mine") == 1


def test_file_whose_import_does_not_end_is_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "IMPORT_SECONDS", 0.2)
    (tmp_path / "own.py").write_text(HANGS["sleeps"])
    with pytest.raises(BrokenPlugin, match=r"own\.py: can't be imported: did not end within 0.2 s"):
        find(FORECASTERS, f"{tmp_path / 'own.py'}:Mine")
    files = [getattr(module, "__file__", None) for module in sys.modules.values()]
    assert str(tmp_path / "own.py") not in files


def test_absent_file_is_not_found(tmp_path):
    with pytest.raises(NotFound, match=r"own\.py: does not exist"):
        find(FORECASTERS, f"{tmp_path / 'own.py'}:Mine")


def test_class_that_a_file_lacks_is_not_found(tmp_path):
    (tmp_path / "own.py").write_text(MINE)
    with pytest.raises(NotFound, match=r"own\.py: defines no 'Yours'"):
        find(FORECASTERS, f"{tmp_path / 'own.py'}:Yours")


@pytest.mark.parametrize("name", [name for name in BROKEN if name != "lacks the class"])
def test_file_that_cannot_be_imported_is_broken_and_says_why(tmp_path, name):
    code, said = BROKEN[name]
    (tmp_path / "own.py").write_text(code)
    with pytest.raises(BrokenPlugin, match=r"own\.py: can't be imported") as caught:
        find(FORECASTERS, f"{tmp_path / 'own.py'}:Mine")
    assert said in str(caught.value)


def test_file_without_a_class_is_an_unknown_name():
    with pytest.raises(NotFound, match=r"'own\.py': is not registered"):
        find(FORECASTERS, "own.py")
