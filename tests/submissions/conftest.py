"""What the tests of submissions share: the program, run in this process."""

from __future__ import annotations

from cli.conftest import plain, run  # noqa: F401
