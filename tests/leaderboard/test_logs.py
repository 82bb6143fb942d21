from __future__ import annotations

import json
import logging
from io import StringIO

import pytest

from leaderboard.logs import configure, event


def test_configured_logs_are_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    level = root.level
    stream = StringIO()
    try:
        configure(stream)
        event(logging.getLogger("leaderboard.x"), "did", number=3, text="a\nb")
        logging.getLogger("uvicorn.access").info("GET /?token=zap_x")
    finally:
        root.setLevel(level)
    line = json.loads(stream.getvalue())
    assert (line["event"], line["number"], line["text"]) == ("did", 3, "a\nb")
    assert line["level"] == "info"
