"""The description of the API describes all of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from persistent_terminal_hub.control.documented import documentation
from persistent_terminal_hub.control.openapi import document, methods_of
from persistent_terminal_hub.control.routes import routes
from persistent_terminal_hub.control.web import ApiHandler

DOCUMENT = document(routes(), "/services/terminals/")
METHODS = [
    pytest.param(method, id=f"{name} {route[0]}")
    for route in routes()
    if issubclass(route[1], ApiHandler)
    for name, method in methods_of(route[1])
]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_says_what_it_takes_and_answers(method: Any) -> None:
    said = documentation(method)
    assert said is not None and said.answers and method.__doc__


def _operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for name, operation in item.items():
            yield path, name, operation


def test_the_resources_of_the_design_are_there() -> None:
    described = {(path.removeprefix("/api/"), name) for path, name, _ in _operations()}
    assert {
        ("sessions", "post"), ("sessions", "get"), ("sessions/{key}", "get"), ("sessions/{key}", "patch"),
        ("sessions/{key}", "delete"), ("workspaces", "post"), ("workspaces/clone", "post"),
        ("workspaces", "get"), ("workspaces/{key}", "get"), ("workspaces/{key}", "patch"),
        ("workspaces/{key}", "delete"), ("workspaces/{key}/execute", "post"),
        ("workspaces/{key}/{kind}", "post"), ("workspaces/{key}/logs", "get"),
        ("workspaces/{key}/stats", "get"), ("audit", "get"), ("operations/{identity}/events", "get"),
    } <= described  # fmt: skip


def test_references_lead_somewhere_and_names_are_unique() -> None:
    text = json.dumps(DOCUMENT)
    for part in text.split('"$ref": "')[1:]:
        name = part.partition('"')[0].removeprefix("#/components/schemas/")
        assert name in DOCUMENT["components"]["schemas"]
    identities = [operation["operationId"] for _, _, operation in _operations()]
    assert len(identities) == len(set(identities))


def test_every_post_knows_the_key() -> None:
    for path, name, operation in _operations():
        headers = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "header"}
        assert ("Idempotency-Key" in headers) == (name == "post"), path


def test_fields_are_camel_case_and_closed() -> None:
    create = DOCUMENT["components"]["schemas"]["CreateWorkspace"]
    assert "displayName" in create["properties"] and create["additionalProperties"] is False
