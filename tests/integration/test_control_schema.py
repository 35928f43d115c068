"""schemathesis asks the real service everything that its own description says can be asked.

Nothing of the description is left out: secrets and usage, the audit log, progress as events. Every second
case is about things that exist (a workspace that runs, its session, an ended operation), the others about
what the case made up; half of them are right by the description, half are wrong on purpose.
`PTH_TEST_EXAMPLES=200` for a long run.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
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
#: Of each operation and each way to make cases.
EXAMPLES = int(os.environ.get("PTH_TEST_EXAMPLES", "4"))
#: What would take away or restart what the other cases are about.
NOT_REAL = {
    ("DELETE", "/api/workspaces/{key}"),
    ("POST", "/api/workspaces/{key}/{kind}"),
    ("DELETE", "/api/sessions/{key}"),
}


@pytest.fixture(scope="module")
def real(alice: Person) -> Iterator[dict[str, str]]:
    """What exists: by the name of the argument in an address."""
    lab = alice.create("fuzzed")
    made = alice.ask("POST", "sessions", {"workspace": lab["workspaceId"]}).json()
    done = alice.operation(alice.ask("POST", "workspaces", {"name": "brief", "start": False}))
    yield {
        "workspace": lab["workspaceId"],
        "session": made["id"],
        "identity": done["id"],
        "secret": "NAME",
    }
    for name in ("fuzzed", "brief"):
        alice.operation(alice.ask("DELETE", f"workspaces/alice~{name}"))


class Asker:
    """Asks what a case says, and looks at the answer."""

    def __init__(self, base: str, person: Person, real: dict[str, str]) -> None:
        self.base, self.person, self.real = base, person, real
        self.asked: Counter[str] = Counter()
        self.answers: Counter[int] = Counter()
        self._turn = itertools.count()

    def ask(self, case: Any) -> None:
        """One case."""
        self.asked[case.operation.label] += 1
        where = (case.method.upper(), case.operation.path)
        if next(self._turn) % 2 and where not in NOT_REAL:
            self._about_what_exists(case)
        headers = {"Authorization": f"token {self.person.token}"}
        response = case.call_and_validate(base_url=self.base, headers=headers, checks=CHECKS, timeout=60)
        self.answers[response.status_code] += 1

    def _about_what_exists(self, case: Any) -> None:
        path, parts = case.operation.path, case.path_parameters or {}
        if "key" in parts:
            parts["key"] = self.real["session" if path.startswith("/api/sessions") else "workspace"]
        for name in ("identity", "secret"):
            if name in parts:
                parts[name] = self.real[name]
        body = case.body
        if path == "/api/sessions" and isinstance(body, dict) and "workspace" in body:
            body["workspace"] = self.real["workspace"]
            body.pop("argv", None)
        # What is made up is not run on the machine of the tests.
        if path.endswith("/execute") and isinstance(body, dict) and "command" in body:
            body["command"] = ["true"]


def cases(operation: Any) -> Iterator[Any]:
    """Ways to make cases of it."""
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        yield operation.as_strategy(generation_mode=mode)


@pytest.mark.timeout(3000)
def test_nothing_undocumented(stack: Stack, alice: Person, admin: Person, real: dict[str, str]) -> None:
    base = f"{stack.url}/services/terminals"
    described = requests.get(f"{base}/api/openapi.json", timeout=10).json()
    described["servers"] = [{"url": base}]
    schema = schemathesis.openapi.from_dict(described)
    as_alice, as_admin = (Asker(base, person, real) for person in (alice, admin))
    failures: list[str] = []
    run = settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    every = {f"{method.upper()} {path}" for path, item in described["paths"].items() for method in item}
    for found in schema.get_all_operations():
        operation = found.ok()
        asker = as_admin if operation.path == "/api/audit" else as_alice
        for strategy in cases(operation):
            try:
                run(given(case=strategy)(asker.ask))()
            except BaseExceptionGroup as group:
                failures += [f"{operation.label}: {error}"[:1500] for error in group.exceptions]
    asked, answers = as_alice.asked + as_admin.asked, as_alice.answers + as_admin.answers
    print(f"{sum(asked.values())} cases of {len(asked)} operations, answers: {dict(sorted(answers.items()))}")
    assert not failures, "\n\n".join(failures)
    assert set(asked) == every
