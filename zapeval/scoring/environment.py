"""The environment that a number was computed in."""

from __future__ import annotations

import importlib.metadata
import os
import platform

_PACKAGES = ("zapeval", "numpy", "numba", "tensorstore", "blosc", "blake3")


def environment() -> dict[str, str | int]:
    """Returns versions and machine, as a scorecard records them."""
    versions: dict[str, str | int] = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return versions | {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count() or 1,
    }
