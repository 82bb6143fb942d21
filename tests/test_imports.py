"""The import table of the house, held by reading every import statement."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]

PACKAGES = {
    "zapeval": {"zapeval"},
    "baselines": {"baselines", "zapeval"},
    "submissions": {"submissions", "zapeval"},
    "leaderboard": {"leaderboard", "zapeval", "submissions"},
}
"""What each package may import of ours."""

STEPS = {
    "cli": 6,
    "reports": 5,
    "scoring": 4,
    "forecasting": 3,
    "testing": 3,
    "benchmarks": 2,
    "recordings": 1,
    "registry": 0,
    "errors": 0,
}
"""The tower: a step imports only lower or equal steps. Private modules of the root are step 0."""

ERRORS_ONLY = ("zapeval.scoring.kernel", "zapeval.scoring.metrics")
"""Modules that import nothing of ours but zapeval.errors."""

FACADE = ("zapeval", "zapeval.__main__")
"""Doors to the whole tower: they may import any step, and no step may import them."""

HOMES = {
    "baselines": ("jax", "jaxlib", "flax", "optax", "orbax"),
    "leaderboard": ("alembic", "fastapi", "httpx2", "jinja2", "sqlalchemy", "starlette", "uvicorn"),
    "zapeval.recordings": ("tensorstore", "blosc", "h5py", "google_crc32c"),
}
"""The one place where each of these libraries may be imported."""


@dataclass(frozen=True, kw_only=True)
class Import:
    """One imported name, in the module that imports it.

    Attributes:
        importer: Dotted name of the module that imports.
        name: Dotted name of what is imported, a module or something in one.
        target: Dotted name of the module that holds it.
        bound: The name that it is bound to, or "".
        line: Line of the statement.
        late: Whether the statement stands in a function, so that it runs when that is called.
    """

    importer: str
    name: str
    target: str
    bound: str
    line: int
    late: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line}: imports {self.target}"


def modules_in(root: Path) -> dict[str, Path]:
    """Returns the path of every module of the four packages, by dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_in(root: Path) -> list[Import]:
    """Returns every import of every module, those inside functions too."""
    modules = modules_in(root)
    found = []
    for importer, path in modules.items():
        package = importer if path.name == "__init__.py" else importer.rpartition(".")[0]
        for node, late in _walk(ast.parse(path.read_text(), str(path)), late=False):
            for name, target, bound in _named(node, package, modules):
                line = getattr(node, "lineno", 0)
                found.append(
                    Import(
                        importer=importer,
                        name=name,
                        target=target,
                        bound=bound,
                        line=line,
                        late=late,
                    )
                )
    return found


def findings_in(root: Path) -> list[str]:
    """Returns one sentence for each break of the table."""
    modules = modules_in(root)
    imports = imports_in(root)
    broken = [finding for entry in imports for finding in _judge(entry, modules)]
    homeless = [
        f"{name}: stands on no step of the tower"
        for name in modules
        if _is_in(name, "zapeval") and name not in FACADE and _step(name) is None
    ]
    knots = [f"{' and '.join(knot)}: import each other" for knot in knots_in(imports)]
    return broken + homeless + knots


def knots_in(imports: list[Import]) -> list[tuple[str, ...]]:
    """Returns each set of modules that reach one another by imports that run on import.

    These are the strongly connected components that hold a cycle.
    """
    graph: dict[str, set[str]] = {}
    for entry in imports:
        if not entry.late:
            graph.setdefault(entry.importer, set()).add(entry.target)
    reach = {name: _reachable(graph, name) for name in graph}
    return sorted(
        {
            tuple(sorted(other for other in reach[name] if name in reach.get(other, ())))
            for name in graph
            if name in reach[name]
        }
    )


def _judge(entry: Import, modules: dict[str, Path]) -> Iterator[str]:
    importer, target = entry.importer, entry.target
    ours = target.partition(".")[0] in PACKAGES
    if ours and target.partition(".")[0] not in PACKAGES[importer.partition(".")[0]]:
        yield f"{entry}: this arrow does not exist"
    elif importer in ERRORS_ONLY and ours and target != "zapeval.errors":
        yield f"{entry}: may import only zapeval.errors of ours"
    elif _is_in(importer, "zapeval") and _is_in(target, "zapeval") and importer not in FACADE:
        yield from _judge_steps(entry)
    for home, libraries in HOMES.items():
        if target.partition(".")[0] in libraries and not _is_in(importer, home):
            yield f"{entry}: only {home} may"
    if modules[importer].name == "__init__.py" and entry.bound:
        shadowed = f"{importer}.{entry.bound}"
        if shadowed in modules and entry.name != shadowed:
            yield f"{entry}: {entry.bound} shadows the module {shadowed}"


def _judge_steps(entry: Import) -> Iterator[str]:
    if entry.target in FACADE:
        yield f"{entry}: the whole package; import the module that defines the name"
    elif entry.target == "zapeval.testing":
        yield f"{entry}: it stands beside the tower, for plugins"
    else:
        step, above = _step(entry.importer), _step(entry.target)
        if step is not None and above is not None and above > step:
            yield f"{entry}: from step {step} up to step {above}"


def _step(name: str) -> int | None:
    """Returns the step of a module of zapeval, or None where it has none."""
    top = name.split(".")[1]
    return 0 if top.startswith("_") else STEPS.get(top)


def _is_in(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += graph.get(name, ())
    return seen


def _walk(node: ast.AST, *, late: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Yields every node below, and whether it stands in a function."""
    for child in ast.iter_child_nodes(node):
        inside = late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield child, inside
        yield from _walk(child, late=inside)


def _named(node: ast.AST, package: str, modules: dict[str, Path]) -> Iterator[tuple[str, str, str]]:
    """Yields name, target and bound name of everything that a node imports."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, alias.name, alias.asname or "") for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _absolute(node, package)
        for alias in node.names:
            name = f"{base}.{alias.name}"
            yield name, name if name in modules else base, alias.asname or alias.name
    elif isinstance(node, ast.Call) and node.args:
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        name = getattr(node.args[0], "value", None)
        if called in ("import_module", "__import__") and isinstance(name, str):
            yield name, name, ""


def _absolute(node: ast.ImportFrom, package: str) -> str:
    """Returns the dotted name that follows "from", with leading dots resolved."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, node.module] if node.module else parts)


def test_the_house_holds_its_import_table():
    assert findings_in(PROJECT) == []


def test_every_package_is_read():
    read = {entry.importer.partition(".")[0] for entry in imports_in(PROJECT)}
    assert "zapeval" in read
    assert {name.partition(".")[0] for name in modules_in(PROJECT)} == set(PACKAGES)


SOUND = {
    "zapeval/__init__.py": "def __getattr__(name):\n    from zapeval.cli import app\n",
    "zapeval/__main__.py": "from zapeval.cli.app import main",
    "zapeval/_version.py": "",
    "zapeval/errors.py": "",
    "zapeval/registry.py": "from zapeval.errors import NotFound\nfrom zapeval import _version",
    "zapeval/testing.py": "from zapeval.forecasting.forecast import forecast",
    "zapeval/recordings/arrays.py": "import tensorstore as ts\nfrom .. import errors",
    "zapeval/benchmarks/benchmark.py": "from zapeval.recordings import arrays",
    "zapeval/forecasting/__init__.py": "from .forecast import Forecaster",
    "zapeval/forecasting/forecast.py": "from zapeval.benchmarks.benchmark import Series",
    "zapeval/scoring/kernel.py": "import numba\nfrom zapeval.errors import InvalidInput",
    "zapeval/scoring/metrics.py": "from ..errors import InvalidInput",
    "zapeval/scoring/score.py": "from zapeval.scoring import kernel, metrics",
    "zapeval/reports/tables.py": "from zapeval.scoring.score import score",
    "zapeval/cli/app.py": "from zapeval.reports import tables\nimport typer",
    "baselines/linear.py": "import jax\nfrom zapeval import Forecaster",
    "submissions/intake.py": "from zapeval.scoring import score",
    "leaderboard/app.py": "import fastapi\nfrom submissions.intake import check\nimport zapeval",
}

BREAKS = {
    "zapeval/errors.py": [
        ("import baselines.linear", "1: imports baselines.linear: this arrow does not exist"),
        ("def f():\n    import submissions", "2: imports submissions: this arrow does not exist"),
        (
            "def f():\n    from leaderboard import app",
            "2: imports leaderboard.app: this arrow does not exist",
        ),
    ],
    "baselines/linear.py": [
        ("import submissions", "1: imports submissions: this arrow does not exist"),
        ("import leaderboard", "1: imports leaderboard: this arrow does not exist"),
        ("import fastapi", "1: imports fastapi: only leaderboard may"),
        ("import blosc", "1: imports blosc: only zapeval.recordings may"),
    ],
    "submissions/intake.py": [
        ("from baselines import x", "1: imports baselines: this arrow does not exist"),
        ("from leaderboard import x", "1: imports leaderboard: this arrow does not exist"),
        ("from sqlalchemy import orm", "1: imports sqlalchemy: only leaderboard may"),
    ],
    "leaderboard/app.py": [
        ("from baselines import x", "1: imports baselines: this arrow does not exist"),
        ("from jax import numpy", "1: imports jax: only baselines may"),
    ],
    "zapeval/benchmarks/benchmark.py": [
        (
            "async def f():\n    from zapeval.forecasting.forecast import f",
            "2: imports zapeval.forecasting.forecast: from step 2 up to step 3",
        ),
        (
            "def f():\n    from ..scoring import score",
            "2: imports zapeval.scoring.score: from step 2 up to step 4",
        ),
        (
            "import importlib\nimportlib.import_module('zapeval.reports.tables')",
            "2: imports zapeval.reports.tables: from step 2 up to step 5",
        ),
        (
            "from zapeval import Forecaster",
            "1: imports zapeval: the whole package; import the module that defines the name",
        ),
        (
            "import zapeval.__main__",
            "1: imports zapeval.__main__: the whole package; "
            "import the module that defines the name",
        ),
        (
            "if True:\n    import h5py.h5d",
            "2: imports h5py.h5d: only zapeval.recordings may",
        ),
    ],
    "zapeval/recordings/arrays.py": [
        (
            "f = lambda: __import__('zapeval.benchmarks.benchmark')",
            "1: imports zapeval.benchmarks.benchmark: from step 1 up to step 2",
        ),
        ("__import__('flax.linen')", "1: imports flax.linen: only baselines may"),
        ("import orbax.checkpoint", "1: imports orbax.checkpoint: only baselines may"),
    ],
    "zapeval/_version.py": [
        ("import zapeval.recordings", "1: imports zapeval.recordings: from step 0 up to step 1"),
    ],
    "zapeval/testing.py": [
        ("import zapeval.scoring", "1: imports zapeval.scoring: from step 3 up to step 4"),
    ],
    "zapeval/cli/app.py": [
        (
            "from zapeval import testing",
            "1: imports zapeval.testing: it stands beside the tower, for plugins",
        ),
    ],
    "zapeval/scoring/kernel.py": [
        (
            "from zapeval.scoring.metrics import mae",
            "1: imports zapeval.scoring.metrics: may import only zapeval.errors of ours",
        ),
    ],
    "zapeval/scoring/metrics.py": [
        (
            "def f():\n    from zapeval.registry import find",
            "2: imports zapeval.registry: may import only zapeval.errors of ours",
        ),
    ],
    "zapeval/forecasting/__init__.py": [
        (
            "from .forecast import forecast",
            "1: imports zapeval.forecasting.forecast: "
            "forecast shadows the module zapeval.forecasting.forecast",
        ),
    ],
    "zapeval/common.py": [("", " stands on no step of the tower")],
}


def write(root, files):
    for name, source in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)


def test_a_sound_tree_has_no_finding(tmp_path):
    write(tmp_path, SOUND)
    assert findings_in(tmp_path) == []


@pytest.mark.parametrize(
    ("file", "source", "finding"),
    [(file, source, finding) for file, cases in BREAKS.items() for source, finding in cases],
)
def test_a_break_of_the_table_is_found(tmp_path, file, source, finding):
    write(tmp_path, SOUND | {file: source})
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    assert findings_in(tmp_path) == [f"{module}:{finding}"]


def test_modules_that_import_each_other_are_found(tmp_path):
    ring = {
        "baselines/a.py": "from . import b",
        "baselines/b.py": "class B:\n    from baselines.c import C",
        "baselines/c.py": "if True:\n    import baselines.a",
        "baselines/outside.py": "from . import a",
    }
    write(tmp_path, SOUND | ring)
    assert findings_in(tmp_path) == [
        "baselines.a and baselines.b and baselines.c: import each other"
    ]


def test_a_package_that_its_own_module_imports_back_is_a_cycle(tmp_path):
    write(tmp_path, SOUND | {"zapeval/forecasting/forecast.py": "from . import Forecaster"})
    knot = "zapeval.forecasting and zapeval.forecasting.forecast: import each other"
    assert findings_in(tmp_path) == [knot]


def test_an_import_inside_a_function_ties_no_knot(tmp_path):
    loose = {
        "baselines/a.py": "from . import b",
        "baselines/b.py": "def f():\n    from . import a",
    }
    write(tmp_path, SOUND | loose)
    assert findings_in(tmp_path) == []
