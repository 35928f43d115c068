"""The second table: the same measurements through the proxy and into the container."""

from __future__ import annotations

from .collect import Bench


class Layers:
    def text(self) -> str:
        return ""

    def rows(self) -> list[object]:
        return []


def measure(bench: Bench) -> Layers | None:
    return None
