"""Heads: ``HEAD`` is answered wherever ``GET`` is: the same headers, and no body."""

from __future__ import annotations

from typing import final

from starlette.types import ASGIApp, Message, Receive, Scope, Send


@final
class Heads:
    """Asks the application for what ``GET`` answers, and leaves the body away."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            return await self.app(scope, receive, send)

        async def bare(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        # The scope itself is changed, not a copy: what is around reads from it who answered.
        scope["method"] = "GET"
        try:
            await self.app(scope, receive, bare)
        finally:
            scope["method"] = "HEAD"
