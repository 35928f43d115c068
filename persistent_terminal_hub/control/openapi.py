"""`GET api/openapi.json`: the description of the API, made from the handlers' own models."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel
from tornado.web import RequestHandler

from persistent_terminal_hub import __version__
from persistent_terminal_hub.control.documented import Documented, documentation, documented
from persistent_terminal_hub.control.web import ApiHandler, Reply

METHODS = ("get", "post", "put", "patch", "delete")
_ALWAYS = (401, 403, 503)
_WITH_BODY = (400, 413, 415, 422)
_WITH_PATH = (404,)
_SENTENCES = {
    200: "Done.",
    201: "Created.",
    202: "It is under way.",
    204: "Done; there is nothing to say.",
    400: "The body is not JSON.",
    401: "Nobody is logged in, or the token is not known.",
    403: "The caller may not.",
    404: "It is not there, or the caller may not see it.",
    405: "The resource does not know that method.",
    409: "Not now, or no more.",
    410: "It has ended.",
    413: "The body is too large.",
    414: "The query is too long.",
    415: "The body is not application/json.",
    422: "A field is wrong.",
    423: "The workspace is locked.",
    429: "Too many at once.",
    503: "The hub or the workspace does not answer; nothing was stopped.",
}
#: One server-sent event.
_EVENT = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string", "enum": ["progress", "end"]},
        "data": {"type": "string", "description": "JSON"},
    },
    "required": ["event", "data"],
}
_SCHEMAS = "#/components/schemas/"


class Error(Reply):
    """Every refusal."""

    status: int
    reason: str
    message: str
    hint: str


def document(routes: Sequence[tuple[Any, ...]], prefix: str) -> dict[str, Any]:
    """The OpenAPI document of these routes, which are relative to `prefix`."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    _reference(Error, "serialization", schemas)
    for path, handler in _resources(routes):
        item = paths.setdefault(f"/{path}", {})
        for name, method in methods_of(handler):
            said = documentation(method) or Documented()
            item[name] = _operation(path, name, handler, method, said, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Persistent Terminal Hub",
            "version": __version__,
            "description": "Workspaces and sessions. See docs/reference/control-api.md.",
        },
        "servers": [{"url": prefix.rstrip("/")}],
        "security": [{"token": []}],
        "paths": {path: item for path, item in paths.items() if item},
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "apiKey", "in": "header", "name": "Authorization",
                    "description": "A token of the hub: `token …`.",
                }
            },
        },
    }  # fmt: skip


def methods_of(handler: type[RequestHandler]) -> Iterator[tuple[str, Any]]:
    """The methods that a handler has, but for those that only say that there is none."""
    for name in METHODS:
        method = getattr(handler, name)
        if method is not getattr(RequestHandler, name):
            yield name, method


def _resources(routes: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, type[RequestHandler]]]:
    for route in routes:
        pattern, handler = route[0], route[1]
        if not issubclass(handler, ApiHandler):
            continue
        for name in _arguments(handler):
            pattern = re.sub(r"\([^)]*\)", f"{{{name}}}", pattern, count=1)
        yield pattern.replace("\\", ""), handler


def _arguments(handler: type[RequestHandler]) -> list[str]:
    for _, method in methods_of(handler):
        return [name for name in inspect.signature(method).parameters if name != "self"]
    return []


def _operation(
    path: str,
    name: str,
    handler: type[RequestHandler],
    method: Any,
    said: Documented,
    schemas: dict[str, Any],
) -> dict[str, Any]:
    summary = (inspect.getdoc(method) or "").partition("\n")[0]
    parameters = [
        {"name": argument, "in": "path", "required": True, "schema": _path_schema(argument)}
        for argument in re.findall(r"\{(\w+)\}", path)
    ]
    if said.query is not None:
        parameters += _query_parameters(said.query)
    headers = dict(said.headers)
    if said.idempotent:
        headers["Idempotency-Key"] = r"^[\x21-\x7e]{1,128}$"
    for header, pattern in headers.items():
        schema = {"type": "string", "pattern": pattern}
        parameters.append({"name": header, "in": "header", "required": False, "schema": schema})
    operation: dict[str, Any] = {
        "operationId": f"{name}_{re.sub(r'[^A-Za-z]+', '_', path).strip('_')}",
        "summary": summary,
        "tags": [path.split("/")[1]],
        "parameters": parameters,
        "responses": _responses(path, said, schemas),
    }
    if said.body is not None:
        media: dict[str, Any] = {"schema": _reference(said.body, "validation", schemas)}
        if said.example is not None:
            media["example"] = dict(said.example)
        required = any(field.is_required() for field in said.body.model_fields.values())
        operation["requestBody"] = {"required": required, "content": {"application/json": media}}
    return operation


def _responses(path: str, said: Documented, schemas: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, model in said.answers.items():
        responses[str(status)] = {"description": _SENTENCES[status]}
        content: dict[str, Any] = {}
        if model is not None:
            content["application/json"] = {"schema": _reference(model, "serialization", schemas)}
        if status in said.media:
            kind, example = said.media[status]
            schema: dict[str, Any] = {"type": "object" if kind == "application/json" else "string"}
            content[kind] = {"schema": _EVENT if kind == "text/event-stream" else schema}
            if kind != "application/json":
                content[kind]["example"] = example
        if content:
            responses[str(status)]["content"] = content
    refusals = {*_ALWAYS, *said.refuses}
    if said.body is not None:
        refusals |= set(_WITH_BODY)
    if said.query is not None or said.headers:
        refusals |= {414, 422}
    if "{" in path:
        refusals |= set(_WITH_PATH)
    for status in sorted(refusals):
        responses[str(status)] = {
            "description": _SENTENCES[status],
            "content": {"application/json": {"schema": {"$ref": f"{_SCHEMAS}Error"}}},
        }
    return responses


def _path_schema(argument: str) -> dict[str, Any]:
    if argument == "kind":
        return {"type": "string", "enum": ["start", "stop", "restart"]}
    return {"type": "string", "minLength": 1}


def _query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema(by_alias=True)
    return [
        {"name": name, "in": "query", "required": False, "schema": field}
        for name, field in schema.get("properties", {}).items()
    ]


def _reference(model: type[BaseModel], mode: Any, schemas: dict[str, Any]) -> dict[str, str]:
    schema = model.model_json_schema(by_alias=True, ref_template=_SCHEMAS + "{model}", mode=mode)
    schemas.update(schema.pop("$defs", {}))
    schemas[model.__name__] = schema
    return {"$ref": _SCHEMAS + model.__name__}


class OpenApiHandler(ApiHandler):
    """The description itself; everybody may read it."""

    async def prepare(self) -> None:
        """No need to know who asks."""

    @documented(answers={200: None}, media={200: ("application/json", "{}")})
    async def get(self) -> None:
        """This document."""
        from persistent_terminal_hub.control.routes import routes

        self.reply(document(routes(), self.control.place.prefix))
