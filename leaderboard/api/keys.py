"""Keys: the public key that receipts of this board are verified with."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from leaderboard.api.deps import Config
from leaderboard.keys import public_key

router = APIRouter(tags=["keys"])


class Key(BaseModel):
    """A public key."""

    model_config = ConfigDict(extra="forbid")

    algorithm: Literal["Ed25519"] = "Ed25519"
    pem: str = Field(description="What `zapeval receipt verify --public-key` reads, as a file.")


@router.get("/key")
def key(settings: Config) -> Key:
    """Returns the public key of this board's receipts."""
    return Key(pem=public_key(settings).read_text(encoding="ascii"))
