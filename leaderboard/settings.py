"""Settings: everything that may differ between two boards, read from the environment.

``ZAPEVAL_DATABASE=postgresql+psycopg://..`` sets ``database``, and so on for every field.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

API = "/api/v1"
"""Where the web API begins."""

_Count = Annotated[int, Field(ge=0)]
_Some = Annotated[int, Field(ge=1)]
_Seconds = Annotated[float, Field(gt=0)]


class Settings(BaseSettings):
    """What a board runs with. Sizes are in bytes, times in seconds.

    Attributes:
        data_dir: Folder of everything that is kept: database, files, keys.
        database: SQLAlchemy URL; "" is SQLite in ``data_dir``.
        recordings: Where those of a benchmark are, by its id, as ``--data`` takes it, in JSON;
            others as by default.
        title: What the board calls itself.
        entries: Folder of entries that the board starts with; None is those of the package.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        public_url: Where users reach it, without a slash at its end; "" derives it from requests.
        max_store_bytes: Largest store.
        max_files: Most files of a store.
        max_file_bytes: Largest file.
        max_open: Submissions of one user that are not finished.
        max_daily: Submissions of one user that were committed within 24 hours.
        max_user_bytes: Bytes that one user's submissions may take together.
        upload_days: Days after which an upload that nobody went on with is dropped.
        hosts: Hosts that stores may be fetched from over https; none by default.
        buckets: ``gs://bucket`` and ``s3://bucket`` that stores may be fetched from.
        requests_per_minute: Requests of one client (token, else address) a minute; 0 is no limit.
        token_days: Days after which a token expires.
        lease: A job belongs to its worker so long after the last heartbeat.
        attempts: How often a job is begun before it fails for good.
        memory: Most memory of a scoring child.
        cpu: Most CPU time of a scoring child.
        wall: Most time of a scoring child.
        keep_predictions: Whether stores stay after scoring, so that a later version can score them.
    """

    model_config = SettingsConfigDict(env_prefix="ZAPEVAL_", frozen=True, extra="ignore")

    data_dir: Path = Path("zapeval-board")
    database: str = ""
    recordings: dict[str, str] = {}
    title: str = "zapeval"
    entries: Path | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    public_url: str = ""
    max_store_bytes: _Some = 64 << 30
    max_files: _Some = 200_000
    max_file_bytes: _Some = 8 << 30
    max_open: _Some = 4
    max_daily: _Some = 20
    max_user_bytes: _Some = 512 << 30
    upload_days: _Seconds = 7.0
    hosts: Annotated[tuple[str, ...], NoDecode] = ()
    buckets: Annotated[tuple[str, ...], NoDecode] = ()
    requests_per_minute: _Count = 1200
    token_days: _Seconds = 365.0
    lease: _Seconds = 60.0
    attempts: _Some = 3
    memory: _Some = 4 << 30
    cpu: _Seconds = 3600.0
    wall: _Seconds = 7200.0
    keep_predictions: bool = True

    @field_validator("hosts", "buckets", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        """Returns what stands between commas, as an environment variable holds it."""
        if not isinstance(value, str):
            return value
        return tuple(part for part in (part.strip() for part in value.split(",")) if part)

    @property
    def database_url(self) -> str:
        """The URL of the database."""
        return self.database or f"sqlite:///{self.data_dir.absolute()}/board.sqlite"
