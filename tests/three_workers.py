"""A pytest plugin: which files run side by side in several processes (`pytest -n 3 --dist loadfile`).

Most files mostly wait, but browsers, containers and whole hubs are heavy, and beside too many of them others
come too late. So one process has only light files, and the others take them when nothing heavy is left. Long
files come first, so that all processes end at about the same time.
"""

from __future__ import annotations

from typing import Any

import pytest

#: No browser, no container, no hub of its own.
LIGHT = (
    "tests/unit/",
    *(
        f"tests/integration/test_{name}"
        for name in (
            "attach_tokens", "audit_", "client_sdk", "client_terminal", "clone_disk_full", "control_kills",
            "idempotency", "keeper", "keyframe", "notebook", "operation_store", "past_sessions", "pth_stream",
            "rules_", "secrets_store", "server_", "stream_through_cuts", "usage_store",
        )
    ),
)  # fmt: skip
#: More than a minute each; the longest first.
LONG = (
    "tests/browser/test_lock_loop.py", "tests/browser/test_in_containers.py", "tests/browser/",
    *(
        f"tests/integration/test_{name}.py"
        for name in (
            "control_workspaces", "control_use", "survive_in_container", "egress", "secrets_docker",
            "culler", "attach_tokens", "server_lock", "outages_in_any_order",
        )
    ),
)  # fmt: skip


def rank(scope: str) -> int:
    """Of a file; a smaller one comes earlier."""
    return next((place for place, start in enumerate(LONG) if scope.startswith(start)), len(LONG))


def is_light(scope: str) -> bool:
    """Whether it may run beside two heavy ones."""
    return scope.startswith(LIGHT)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Ours for whole files in three processes or more, else xdist's own."""
    processes = config.getoption("numprocesses", 0)
    if config.getoption("dist", "no") != "loadfile" or not isinstance(processes, int) or processes < 3:
        return None
    from xdist.scheduler import LoadFileScheduling

    class HeavyAndLight(LoadFileScheduling):  # type: ignore[misc]
        """`_reschedule` asks whether a process needs another file, `_assign_work_unit` gives it the first."""

        def suits(self, node: Any) -> list[str]:
            """The files that it may have now, the best one first."""
            others = sum(
                any(not is_light(scope) and not all(tests.values()) for scope, tests in work.items())
                for other, work in self.assigned_work.items()
                if other is not node
            )
            left = sorted(self.workqueue, key=lambda scope: (is_light(scope), rank(scope)))
            return [scope for scope in left if is_light(scope) or others < processes - 1]

        def _assign_work_unit(self, node: Any) -> None:
            if suitable := self.suits(node):
                self.workqueue.move_to_end(suitable[0], last=False)
                super()._assign_work_unit(node)

        def _reschedule(self, node: Any) -> None:
            if self.suits(node) or not self.workqueue:
                super()._reschedule(node)
            elif not node.shutting_down:
                node.shutdown()  # after what it has; the others do the rest

    return HeavyAndLight(config, log)
