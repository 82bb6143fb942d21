"""Reference: the page that lists every address of the API, from its own schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from fastapi import APIRouter, Request, Response

from leaderboard.choices import only_known
from leaderboard.pages.rendering import render

router = APIRouter(include_in_schema=False)

_PLACES = {"path": "in the address", "query": "query", "header": "header", "cookie": "cookie"}


@final
@dataclass(frozen=True, kw_only=True)
class Field:
    """A parameter, or a member of a body or an answer."""

    name: str
    kind: str
    where: str
    required: bool
    about: str


@final
@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one address."""

    method: str
    path: str
    anchor: str
    summary: str
    about: str
    fields: tuple[Field, ...]
    answers: tuple[tuple[str, str], ...]


@router.get("/docs")
def reference_page(request: Request) -> Response:
    """Shows every address of the API."""
    only_known(request.query_params.multi_items(), ())
    schema = request.app.openapi()
    groups: dict[str, list[Operation]] = {}
    for path, methods in schema.get("paths", {}).items():
        for method, said in methods.items():
            tag = (said.get("tags") or ["other"])[0]
            groups.setdefault(tag, []).append(_operation(schema, path, method, said))
    return render(
        request,
        "reference.html",
        groups=groups,
        about=schema["info"],
        openapi=request.app.openapi_url,
    )


def _operation(schema: dict[str, Any], path: str, method: str, said: dict[str, Any]) -> Operation:
    fields = [
        Field(
            name=one["name"],
            kind=_kind(one.get("schema", {})),
            where=_PLACES.get(one["in"], one["in"]),
            required=bool(one.get("required")),
            about=one.get("description", ""),
        )
        for one in said.get("parameters", [])
    ]
    for media, content in said.get("requestBody", {}).get("content", {}).items():
        fields += _members(schema, content.get("schema", {}), media)
    return Operation(
        method=method.upper(),
        path=path,
        anchor=str(said.get("operationId", f"{method}-{path}")),
        summary=said.get("summary", ""),
        about=said.get("description", "").split("\n\nRaises:")[0],
        fields=tuple(fields),
        answers=tuple(
            (status, _answer(one)) for status, one in sorted(said.get("responses", {}).items())
        ),
    )


def _members(schema: dict[str, Any], body: dict[str, Any], media: str) -> list[Field]:
    body = _resolved(schema, body)
    required = body.get("required", [])
    return [
        Field(
            name=name,
            kind=_kind(one),
            where=media.rpartition("/")[2],
            required=name in required,
            about=one.get("description", ""),
        )
        for name, one in body.get("properties", {}).items()
    ]


def _answer(said: dict[str, Any]) -> str:
    kinds = [_kind(one.get("schema", {})) for one in said.get("content", {}).values()]
    known = [kind for kind in kinds if kind and kind != "any"]
    return ": ".join([said.get("description", ""), *known[:1]])


def _resolved(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    name = str(part.get("$ref", "")).rpartition("/")[2]
    found: dict[str, Any] = schema.get("components", {}).get("schemas", {}).get(name, part)
    return found


def _kind(part: dict[str, Any]) -> str:
    if "$ref" in part:
        return str(part["$ref"]).rpartition("/")[2]
    for key in ("anyOf", "oneOf"):
        if key in part:
            return " or ".join(dict.fromkeys(_kind(one) for one in part[key]))
    if part.get("type") == "array":
        return f"list of {_kind(part.get('items', {}))}"
    return str(part.get("type", "any"))
