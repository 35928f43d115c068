"""Prometheus metrics of the streams, on the server's own /metrics. No label names a person or a session."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from persistent_terminal_hub.lifecycle import State, state_of

from .keeper_mirror import Info

BYTES: Final = Counter(
    "pth_stream_bytes", "Bytes of terminals sent to clients (out), and typed by them (in).", ["direction"]
)
BYTES_IN: Final = BYTES.labels("in")
BYTES_OUT: Final = BYTES.labels("out")
CLIENTS: Final = Gauge("pth_stream_clients", "Clients that are attached now.")
ATTACHES: Final = Counter("pth_attaches", "Attached clients, by what they began with.", ["kind"])
ATTACH_SECONDS: Final = Histogram(
    "pth_attach_seconds",
    "From the attach message until the client was sent all that the journal held then.",
    ["kind"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
JUMPS: Final = Counter("pth_cursor_jumps", "Streams that left bytes behind and went on at a keyframe.")
STALLS: Final = Counter("pth_window_stalls", "Times that a stream waited for acknowledgements.")
KEYFRAMES: Final = Counter("pth_keyframes", "Keyframes that were made.", ["method", "exact"])
CLOSES: Final = Counter("pth_stream_closes", "Connections that the server closed, by close code.", ["code"])
RESTARTS: Final = Gauge(
    "pth_server_restarts", "How often the keeper started the Jupyter server again, this one included."
)

#: The lock is not a session's.
STATES: Final = (State.ACTIVE, State.DORMANT, State.ENDED)


class SessionStates(Collector):
    """`pth_sessions{state}`, counted when it is asked for."""

    def __init__(self, sessions: Callable[[], Iterable[Info]]) -> None:
        self._sessions = sessions

    def collect(self) -> Iterable[Metric]:
        """Count."""
        counts = dict.fromkeys(STATES, 0)
        for session in self._sessions():
            counts[state_of(running=session.running, attached=bool(session.attached))] += 1
        family = GaugeMetricFamily("pth_sessions", "Sessions of this workspace, by state.", labels=["state"])
        for state, count in counts.items():
            family.add_metric([state], count)
        yield family

    def register(self) -> None:
        """Be part of /metrics."""
        REGISTRY.register(self)

    def unregister(self) -> None:
        """Be no part of it any more."""
        REGISTRY.unregister(self)
