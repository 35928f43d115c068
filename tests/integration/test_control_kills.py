"""kill -9 of the service at random points while many operations run: no orphan, no lost or doubled record.

`PTH_TEST_OPERATIONS=200` for a long run, on both databases; without it a short one, on PostgreSQL.
"""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.control_fixtures import Person, answers, kill_control
from tests.support.stack import Stack, wait_for

pytest_plugins = ["database_fixtures"]

#: Creations and deletions together.
OPERATIONS = int(os.environ.get("PTH_TEST_OPERATIONS", "12"))
LONG = "PTH_TEST_OPERATIONS" in os.environ
DATABASES = [*(["sqlite"] if LONG else []), pytest.param("postgresql", marks=pytest.mark.postgres)]
AT_ONCE = 4


class Killer:
    """Kills the service after every few answers, in the middle of the next ones.

    By answers and not by the clock: a busy machine would kill services that have hardly started.
    """

    def __init__(self, stack: Stack) -> None:
        self.kills = 0
        self._answers = 0
        self._stack = stack
        self._stopped = threading.Event()
        self._chance = random.Random(7)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def answered(self) -> None:
        """One more; threads may count one too few, which changes nothing."""
        self._answers += 1

    def _run(self) -> None:
        while not self._stopped.is_set():
            wanted = self._answers + self._chance.randint(1, min(12, OPERATIONS // 2))
            while self._answers < wanted:
                if self._stopped.wait(0.005):
                    return
            if self._stopped.wait(self._chance.uniform(0, 0.25)):
                return
            kill_control(self._stack)
            self.kills += 1
            wait_for(lambda: answers(self._stack), 120, "the service is back")

    def stop(self) -> None:
        """No more."""
        self._stopped.set()
        self._thread.join()


def persist(person: Person, method: str, path: str, body: Any, fine: set[int]) -> None:
    """Ask, with one key for all tries, until it is answered."""
    headers = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}

    def asked() -> bool:
        try:
            answer = person.ask(method, path, body, headers=headers)
        except requests.RequestException:  # cut off
            return False
        waits = answer.status_code == 409 and answer.json()["reason"] == "In progress"
        assert answer.status_code in fine or answer.status_code >= 500 or waits, answer.text
        return answer.status_code in fine

    # A machine with much else to do starts the service slowly, and it is killed again soon.
    wait_for(asked, 600, f"{method} {path} is answered")


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("database_url", DATABASES, indirect=True)
def test_killed_at_random_points(tmp_path: Path, database_url: str) -> None:
    settings = {
        "culler": {"enabled": False},
        "workspace": {"maxPerUser": OPERATIONS},
        "control": {"databaseUrl": database_url},
    }
    stack = Stack(tmp_path, backend="process", settings=settings)
    killer: Killer | None = None
    try:
        stack.start()
        wait_for(lambda: answers(stack), 30, "the service answers")
        admin = Person(stack, "admin", stack.admin_password)
        names = [f"w{number}" for number in range(OPERATIONS // 2)]
        began = time.monotonic()
        killer = killing = Killer(stack)

        def create(name: str) -> None:
            # Exactly one creation: a retry that met its own first try would be refused, "there is one".
            persist(admin, "POST", "workspaces", {"name": name, "start": False}, {202})
            killing.answered()

        def remove(name: str) -> None:
            persist(admin, "DELETE", f"workspaces/admin~{name}", None, {202, 404})
            killing.answered()

        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(create, names))
            list(threads.map(remove, names))
        killer.stop()
        assert killer.kills >= OPERATIONS // 12, "the work was over before the kills began"
        wait_for(lambda: answers(stack), 60, "the service is back")

        def left() -> set[str]:
            return {w["name"] for w in admin.get("workspaces?owner=admin")["workspaces"]} - {""}

        wait_for(lambda: not left(), 120, "all are gone")
        seconds = time.monotonic() - began
        model = requests.get(
            f"{stack.url}/hub/api/users/admin?include_stopped_servers",
            headers={"Authorization": f"token {admin.token}"}, timeout=10,
        ).json()  # fmt: skip
        assert set(model["servers"]) <= {""}, "an orphan at the hub"

        def told_in(records: list[dict[str, Any]]) -> Counter[tuple[str, str, str]]:
            return Counter(
                (r["what"], r["on"], "asked" if r["result"] == "asked" else "ended")
                for r in records
                if r["what"] in ("workspace.create", "workspace.delete")
            )

        wanted = {
            (what, f"admin/{name}", result): 1
            for what in ("workspace.create", "workspace.delete")
            for name in names
            for result in ("asked", "ended")
        }
        # What was done last is still on its way from the outbox into the log.
        wait_for(lambda: told_in(all_records(admin)).keys() >= wanted.keys(), 60, "all is in the log")
        records = all_records(admin)
        told = told_in(records)
        # A deletion that was sent again is another request for the same operation.
        assert {each: min(count, 1) for each, count in told.items()} == wanted
        assert {each for each, count in told.items() if count > 1} <= {
            ("workspace.delete", f"admin/{name}", "asked") for name in names
        }
        assert len({r["id"] for r in records}) == len(records)
        print(f"{OPERATIONS} operations, {killer.kills} kills, {len(records)} records, {seconds:.0f} s")
    finally:
        if killer is not None:
            killer.stop()
        stack.stop()
        stack.end_processes()


def all_records(person: Person) -> list[dict[str, Any]]:
    """The whole log, page by page."""
    records: list[dict[str, Any]] = []
    before = ""
    while True:
        page = person.get(f"audit?limit=1000{before}")
        records += [entry["record"] for entry in page["records"]]
        if page["before"] is None:
            return records
        before = f"&before={page['before']}"
