"""Forecasters: ``/forecasters``, the names that are registered here."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from leaderboard.choices import only_known
from zapeval.registry import FORECASTERS, plugins

router = APIRouter(prefix="/forecasters", tags=["forecasters"])


class ForecasterLine(BaseModel):
    """A registered forecaster; nothing of it is imported for this list."""

    model_config = ConfigDict(extra="forbid")

    name: str
    package: str
    target: str
    clash: str


class Forecasters(BaseModel):
    """Every registered forecaster."""

    model_config = ConfigDict(extra="forbid")

    forecasters: tuple[ForecasterLine, ...]


@router.get("")
def forecasters(request: Request) -> Forecasters:
    """Lists the forecasters whose packages are installed here."""
    only_known(request.query_params.multi_items(), ())
    return Forecasters(
        forecasters=tuple(
            ForecasterLine(name=one.name, package=one.package, target=one.target, clash=one.clash)
            for one in plugins(FORECASTERS).values()
        )
    )
