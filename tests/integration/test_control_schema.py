"""schemathesis asks the real service everything that its own description says can be asked."""

from __future__ import annotations

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.integration.control_fixtures import Person
from tests.support.stack import Stack

pytest_plugins = ["control_fixtures"]

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
#: A stream without an end is nothing for it.
LEFT_OUT = ("/events",)


@pytest.mark.timeout(600)
def test_nothing_undocumented(stack: Stack, alice: Person, admin: Person) -> None:
    base = f"{stack.url}/services/terminals"
    described = requests.get(f"{base}/api/openapi.json", timeout=10).json()
    described["servers"] = [{"url": base}]
    schema = schemathesis.openapi.from_dict(described)
    asked: dict[str, int] = {}
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path.endswith(LEFT_OUT):
            continue
        person = admin if operation.path.endswith("audit") else alice

        def ask(case: schemathesis.Case, person: Person = person) -> None:
            asked[case.operation.label] = asked.get(case.operation.label, 0) + 1
            case.call_and_validate(
                base_url=base, headers={"Authorization": f"token {person.token}"}, checks=CHECKS, timeout=60
            )

        strategy = operation.as_strategy()
        run = settings(
            max_examples=12, deadline=None, database=None, derandomize=True,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        from hypothesis import given

        run(given(case=strategy)(ask))()
    assert len(asked) >= 20 and all(count >= 1 for count in asked.values()), asked
