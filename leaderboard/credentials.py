"""Credentials: tokens of boards, kept in a file that nobody else can read."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from zapeval.errors import InvalidInput, Refused, StorageError

VARIABLE = "ZAPEVAL_TOKEN"
"""Environment variable that holds a token; it comes before what is kept."""


def credentials_file() -> Path:
    """Returns the file: ``zapeval/tokens.json`` in the user's folder of settings."""
    chosen = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    # The XDG base directory specification tells programs to ignore a relative path.
    folder = chosen if chosen.is_absolute() else Path.home() / ".config"
    return folder / "zapeval" / "tokens.json"


def find_token(address: str) -> str:
    """Returns the token for a board.

    Raises:
        Refused: There is none, or others can read the file.
        InvalidInput: The file is damaged.
    """
    token = os.environ.get(VARIABLE, "").strip() or _read(credentials_file()).get(address, "")
    if not token:
        raise Refused(
            f"{address}: needs a token; sign in with `zapeval login {address}`, or set {VARIABLE}"
        )
    if not token.isascii() or not token.isprintable():
        raise Refused(f"{address}: the token holds characters that no token has; sign in again")
    return token


def keep_token(address: str, token: str) -> Path:
    """Keeps a token for a board, and returns the file.

    Raises:
        StorageError: It could not be written.
        InvalidInput: The file is damaged.
    """
    path = credentials_file()
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        tokens = _read(path) | {address: token}
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(tokens, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise StorageError(f"{path}: could not be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def _read(path: Path) -> dict[str, str]:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise Refused(f"{path}: others can read it; `chmod 600` it, or sign in anew")
        tokens = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path}: is damaged; delete it and sign in again") from error
    if not isinstance(tokens, dict) or not all(isinstance(v, str) for v in tokens.values()):
        raise InvalidInput(f"{path}: is damaged; delete it and sign in again")
    return tokens
