"""Logs: one JSON object a line on standard error, without secrets."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO, final

_LONGEST = 2000
"""Characters of a value that are kept."""

_NOISY = ("uvicorn.access",)
"""Loggers that would say again what the request's own line says."""


@final
class JsonLines(logging.Formatter):
    """Formats a record as a line of JSON: time, level, logger, event, fields, error."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps({name: _short(value) for name, value in line.items()}, default=str)


def configure(stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Makes all loggers of this process write such lines, to standard error where none is given."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", *_NOISY):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name not in _NOISY
    logging.getLogger("alembic").setLevel(logging.WARNING)


def event(logger: logging.Logger, what: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Logs that something happened, with its fields."""
    logger.log(level, what, extra={"fields": fields})


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _LONGEST:
        # Of a traceback the end tells most.
        return f"{value[: _LONGEST // 4]} .. {value[-_LONGEST:]}"
    return value
