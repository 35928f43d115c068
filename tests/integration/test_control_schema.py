"""schemathesis asks the real service everything that its own description says can be asked."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
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


def asker(base: str, person: Person, asked: dict[str, int]) -> Callable[[schemathesis.Case], None]:
    """Asks what a case says, and looks at the answer."""

    def ask(case: schemathesis.Case) -> None:
        asked[case.operation.label] = asked.get(case.operation.label, 0) + 1
        headers = {"Authorization": f"token {person.token}"}
        case.call_and_validate(base_url=base, headers=headers, checks=CHECKS, timeout=60)

    return ask


@pytest.mark.timeout(600)
def test_nothing_undocumented(stack: Stack, alice: Person, admin: Person) -> None:
    base = f"{stack.url}/services/terminals"
    described = requests.get(f"{base}/api/openapi.json", timeout=10).json()
    described["servers"] = [{"url": base}]
    schema = schemathesis.openapi.from_dict(described)
    asked: dict[str, int] = {}
    failures: list[str] = []
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path.endswith(LEFT_OUT):
            continue
        ask = asker(base, admin if operation.path.endswith("audit") else alice, asked)
        strategy = operation.as_strategy()
        run = settings(
            max_examples=12, deadline=None, database=None, derandomize=True,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        try:
            run(given(case=strategy)(ask))()
        except BaseExceptionGroup as group:
            failures += [f"{operation.label}: {error}"[:1500] for error in group.exceptions]
    assert not failures, "\n\n".join(failures)
    assert len(asked) >= 20 and all(count >= 1 for count in asked.values()), asked
