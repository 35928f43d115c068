"""kill -9 of the service at random points while many operations run: no orphan, no lost or doubled record."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.integration.control_fixtures import Person, answers, kill_control
from tests.support.stack import Stack, wait_for

COUNT = 24
KILLS = 8


def persist(person: Person, method: str, path: str, body: Any, fine: set[int]) -> None:
    """Ask until it is answered."""

    def asked() -> bool:
        answer = person.ask(method, path, body)
        assert answer.status_code in fine or answer.status_code >= 500, answer.text
        return answer.status_code in fine

    wait_for(asked, 120, f"{method} {path} is answered")


@pytest.mark.timeout(400)
def test_killed_at_random_points(tmp_path: Any) -> None:
    settings = {"culler": {"enabled": False}, "workspace": {"maxPerUser": 100}}
    stack = Stack(tmp_path, backend="process", settings=settings)
    stopped = threading.Event()
    try:
        stack.start()
        wait_for(lambda: answers(stack), 30, "the service answers")
        admin = Person(stack, "admin", stack.admin_password)
        chance = random.Random(7)
        kills: list[int] = []

        def killer() -> None:
            for _ in range(KILLS):
                wait_for(lambda: answers(stack), 60, "the service is back")
                if stopped.wait(chance.uniform(0.1, 1.5)):
                    return
                kill_control(stack)
                kills.append(1)

        thread = threading.Thread(target=killer)
        thread.start()
        names = [f"w{number}" for number in range(COUNT)]
        with ThreadPoolExecutor(4) as threads:
            # 409: it was created by the request whose answer a kill took away.
            list(
                threads.map(
                    lambda name: persist(
                        admin, "POST", "workspaces", {"name": name, "start": False}, {202, 409}
                    ),
                    names,
                )
            )
            list(
                threads.map(
                    lambda name: persist(admin, "DELETE", f"workspaces/admin~{name}", None, {202, 404}), names
                )
            )
        stopped.set()
        thread.join()
        assert len(kills) >= 3, "the work was over before the kills began"
        wait_for(lambda: answers(stack), 60, "the service is back")

        def left() -> set[str]:
            return {w["name"] for w in admin.get("workspaces?owner=admin")["workspaces"]} - {""}

        wait_for(lambda: not left(), 90, "all are gone")
        model = requests.get(
            f"{stack.url}/hub/api/users/admin?include_stopped_servers",
            headers={"Authorization": f"token {admin.token}"}, timeout=10,
        ).json()  # fmt: skip
        assert set(model["servers"]) <= {""}, "an orphan at the hub"

        records = [entry["record"] for entry in admin.get("audit?limit=1000")["records"]]
        ended = Counter(
            (r["what"], r["on"])
            for r in records
            if r["what"].startswith("workspace.") and r["result"] != "asked"
        )
        for name in names:
            assert ended[("workspace.delete", f"admin/{name}")] == 1, name
            assert ended[("workspace.create", f"admin/{name}")] == 1, name
        assert len({r["id"] for r in records}) == len(records)
    finally:
        stopped.set()
        stack.stop()
        stack.end_processes()
