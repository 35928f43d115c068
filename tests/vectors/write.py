"""Writes pth.v1/client-*.json from the scenarios below: `PYTHONPATH=. python tests/vectors/write.py`.

A changed vector is a changed protocol: read the difference before you commit it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from machine import CLIENT, call, make

from persistent_terminal_hub.protocol.frames import Kind, encode_output
from persistent_terminal_hub.protocol.messages import (
    Attached,
    Error,
    Exit,
    Fetched,
    InputAck,
    Keyframe,
    Locked,
    Message,
    Notice,
    Ping,
    Renamed,
    Reset,
    Responder,
    Size,
    Skipped,
    Title,
    Token,
    encode,
)

HERE = Path(__file__).parent / "pth.v1"


class Scenario:
    """Records steps and what the machine returned."""

    def __init__(self, name: str, about: str, **config: Any) -> None:
        self.name = name
        self.about = about
        self.config: dict[str, Any] = {
            "client": CLIENT, "rows": 24, "cols": 80, "mode": "rw", "visible": True, "random": 0.5, **config,
        }  # fmt: skip
        self.client = make(self.config)
        self.now = 0.0
        self.steps: list[dict[str, Any]] = []

    def do(self, name: str, *, at: float | None = None, **args: Any) -> Scenario:
        self.now = self.now if at is None else at
        step: dict[str, Any] = {"at": self.now, "call": name}
        if args:
            step["args"] = {key: v.hex() if isinstance(v, bytes) else v for key, v in args.items()}
        step["expect"] = call(self.client, step)
        wake = self.client.wake_at
        step["wake_at"] = None if wake is None else round(wake, 6)
        step["state"] = self.client.state.name
        self.steps.append(step)
        return self

    def says(self, *messages: Message, at: float | None = None) -> Scenario:
        for message in messages:
            self.do("receive_text", at=at, text=encode(message))
        return self

    def data(self, offset: int, data: bytes, kind: Kind = Kind.STREAM, at: float | None = None) -> Scenario:
        return self.do("receive_binary", at=at, data=encode_output(kind, offset, data))

    def live(self, at: float = 0.0, **attached: Any) -> Scenario:
        """Connect and attach to a fresh, short journal."""
        self.do("start", at=at).do("opened")
        return self.says(answer(**attached), Reset("fresh"))

    def write(self) -> None:
        data = {"name": self.name, "about": self.about, "config": self.config, "steps": self.steps}
        head = json.dumps({k: v for k, v in data.items() if k != "steps"}, indent=1)[:-2]
        steps = ",\n  ".join(json.dumps(step) for step in self.steps)
        (HERE / f"client-{self.name}.json").write_text(f'{head},\n "steps": [\n  {steps}\n ]\n}}\n')


def answer(**changes: Any) -> Attached:
    values: dict[str, Any] = {
        "epoch": "e1", "end": 0, "input_ack": 0, "answer_from": 0, "responder": True, "rows": 24, "cols": 80,
        "resumed": False, "mode": "rw", "start": 0, "reason": "fresh",
    }  # fmt: skip
    return Attached(**{**values, **changes})


def resume(offset: int, **changes: Any) -> Attached:
    values = {"resumed": True, "reason": None, "start": offset, "end": offset, "answer_from": offset}
    return answer(**{**values, **changes})


def scenarios() -> list[Scenario]:
    S = Scenario
    out: list[Scenario] = []

    s = S(
        "attach", "First attach to a short journal, output, acknowledgement after a pause and at once."
    ).live()
    s.data(0, b"hello ").data(6, b"world").do("parsed", at=0.01, offset=11, generation=1)
    s.do("tick", at=0.02).do("tick", at=0.03).data(11, b"x" * 5000).do("parsed", offset=5011, generation=1)
    out.append(s)

    s = S(
        "resume",
        "A cut: the client comes back at its offset, drops what it has, sends again what was not acked.",
    )
    s.live().data(0, b"abc").do("parsed", offset=3, generation=1).do("type", at=1.0, data=b"ls\r")
    s.do("type", data=b"pwd\r").do("closed", at=2.0, code=1006).do("type", data=b"x")
    s.do("tick", at=2.01).do("tick", at=2.075).do("opened", at=2.1)
    s.says(resume(3, end=6, answer_from=6, input_ack=1)).data(1, b"bcd").data(4, b"ef").data(2, b"cde")
    out.append(s)

    s = S("keyframe", "A long journal: reset, keyframe in two parts, acknowledged at once, then the tail.")
    s.do("start").do("opened").says(answer(start=None, end=9000, answer_from=9000))
    s.says(Reset("fresh"), Keyframe(8990, 6, 30, 100, 5000, 3)).data(0, b"\x1b[H", Kind.KEYFRAME)
    s.data(3, b"scr", Kind.KEYFRAME).do("parsed", at=0.1, offset=8990, generation=1).data(8990, b"tail")
    s.do("may_answer", offset=8993, generation=1).do("may_answer", offset=9000, generation=1)
    out.append(s)

    s = S(
        "keyframe-cut", "A cut inside a keyframe leaves no screen: attach as new; the skip is announced once."
    ).live()
    s.data(0, b"abc").says(Skipped(3, 500), Reset("lag"), Keyframe(500, 4, 24, 80)).data(
        0, b"KE", Kind.KEYFRAME
    )
    s.do("closed", at=1.0, code=1006).do("tick", at=2.0).do("opened")
    s.says(answer(start=None, end=700, answer_from=700), Reset("fresh"), Keyframe(600, 0, 24, 80))
    s.do("parsed", offset=600, generation=3)
    out.append(s)

    s = S(
        "skip", "The server jumps ahead of a lagging client; late news of the old screen is ignored."
    ).live()
    s.data(0, b"abc").says(Skipped(3, 9000), Reset("lag"), Keyframe(9000, 1, 24, 80)).data(
        0, b"K", Kind.KEYFRAME
    )
    s.do("parsed", offset=3, generation=1).do("parsed", offset=9000, generation=2).data(9000, b"new")
    s.do("fetch", start=3, stop=100).data(3, b"def", Kind.FETCHED).says(Fetched(3, 6))
    out.append(s)

    s = S(
        "answers",
        "Queries: answered from answer_from on, handed over at an offset, never late or for an old screen.",
    )
    s.do("start").do("opened").says(answer(end=10, answer_from=10), Reset("fresh"))
    s.data(0, b"0123456789abcdef")  # cut where the right begins
    s.do("may_answer", offset=0, generation=1).do("may_answer", offset=10, generation=1)
    s.do("answer", data=b"\x1b[1;1R", offset=0, generation=1)
    s.do("answer", data=b"\x1b[1;1R", offset=10, generation=1)
    s.says(Responder(False, 20), Responder(True, 30)).data(16, b"x" * 20)
    s.do("may_answer", offset=19, generation=1).do("may_answer", offset=20, generation=1)
    s.do("may_answer", offset=30, generation=1).do("type", data=b"k").do("closed", at=1.0, code=1006)
    s.do("may_answer", offset=30, generation=1).do("answer", data=b"late", offset=30, generation=1)
    s.do("tick", at=2.0).do("opened").says(resume(36))  # the answer is not sent again, the key is
    out.append(s)

    s = S(
        "restarted",
        "Another epoch: what was typed for the old process is dropped and said so; numbers go on.",
    ).live()
    s.data(0, b"abc").do("type", data=b"rm -rf").do("closed", at=1.0, code=1012).do("tick", at=2.0).do(
        "opened"
    )
    s.says(answer(epoch="e2", reason="epoch")).do("may_answer", offset=2, generation=1).says(Reset("epoch"))
    s.data(0, b"$ ").do("type", data=b"y")
    out.append(s)

    s = S(
        "forgotten", "The keeper does not know this client any more: sending again could double, so it drops."
    ).live()
    s.do("type", data=b"a").do("type", data=b"b").says(InputAck(1)).do("closed", at=1.0, code=1006)
    s.do("tick", at=2.0).do("opened").says(resume(0, input_ack=0)).do("type", data=b"c")
    out.append(s)

    s = S("reloaded", "A reloaded page with the same id goes on above the numbers of the one before.")
    s.do("type", data=b"early").do("start").do("opened").says(answer(input_ack=41), Reset("fresh"))
    s.do("type", data=b"more").says(InputAck(42))
    out.append(s)

    s = S("window", "Input is split into frames, sent ahead up to a bound, and kept up to another.",
          limits={"input_frame": 4, "input_window": 8, "input_kept": 20})  # fmt: skip
    s.live().do("type", data=b"0123456789abcdef").says(InputAck(1)).do("type", data=b"ABCDEFGH").do(
        "type", data=b"AB"
    )
    s.says(InputAck(3), InputAck(4))
    out.append(s)

    s = (
        S("locked", "A lock: no input, a slow retry, back at the old offset when it opens.")
        .live()
        .data(0, b"abc")
    )
    s.do("type", data=b"k").says(Locked("Sign in again."), at=5.0).do("closed", code=4423).do(
        "type", data=b"no"
    )
    s.do("tick", at=14.0).do("tick", at=15.0).do("closed", at=15.1, code=4423).do("nudge", at=16.0)
    s.do("opened").says(resume(3))
    out.append(s)

    s = S("ended", "The session ends after its last byte; nothing is tried again.").live().data(0, b"bye")
    s.says(Exit(code=3)).do("closed", code=4410).do("tick", at=100.0).do("type", data=b"x").do("start")
    out.append(s)

    for code, name in ((4400, "protocol"), (4401, "sign-in"), (4403, "forbidden"), (4404, "missing"),
                       (4409, "taken-over"), (4413, "too-large")):  # fmt: skip
        s = S(f"refused-{name}", f"Close code {code}: not tried again until the person starts it.")
        s.do("start").do("opened").do("closed", code=code, reason="No.").do("tick", at=50.0).do(
            "type", data=b"x"
        )
        s.do("nudge").do("start")
        out.append(s)

    s = S(
        "retry",
        "Pauses double from 0.1 s to 1 s in the first 20 s, then to 10 s, for ever; half of it is random.",
    )
    s.do("start")
    for _ in range(12):
        s.do("closed", code=1006)
        s.do("tick", at=round((s.client.wake_at or 0) + 2, 6))
    s.do("opened").says(answer(), Reset("fresh"), at=60.0).do("closed", at=61.0, code=4429)
    s.do("tick", at=75.0).do("opened").says(answer(), Reset("fresh")).do("closed", at=90.0, code=1006)
    out.append(s)

    s = S(
        "heartbeat", "A ping every 5 s, dead after 20 s, one chance after a sleep, a quick probe on a nudge."
    ).live()
    s.do("tick", at=5.0).says(Ping(7), at=6.0).do("tick", at=10.0).do("tick", at=15.0).do("tick", at=20.0)
    s.do("tick", at=25.0).do("tick", at=26.0).do("tick", at=27.0).do("opened").says(resume(0))
    s.do("tick", at=500.0).do("tick", at=503.0).do("tick", at=504.0).do("opened").says(resume(0))
    s.do("nudge", at=505.0).says(Ping(8)).do("nudge", at=506.0).do("tick", at=509.0)
    out.append(s)

    s = (
        S("timeout", "A connection that does not open or attach in 15 s is given up.")
        .do("start")
        .do("tick", at=15.0)
    )
    s.do("tick", at=16.0).do("opened").do("tick", at=31.0)
    out.append(s)

    s = S(
        "watch",
        "A watcher types nothing; a writer that becomes one is told and drops what it kept.",
        mode="watch",
    )
    s.live(mode="watch", responder=False).do("type", data=b"x")
    out.append(s)
    s = S("read-only", "A writer whose right is taken away.").live().do("type", data=b"x")
    s.says(Error("read_only", "You are watching this session.")).do("type", data=b"y")
    out.append(s)

    s = S(
        "size", "Size, visibility and focus: told when they change, again after a cut only if they changed."
    ).live()
    s.do("resize", rows=30, cols=100).says(Size(30, 100, 0)).do("set_visible", visible=False).do("focus")
    s.do("closed", at=1.0, code=1006).do("resize", rows=40, cols=100).do("focus").do("tick", at=2.0).do(
        "opened"
    )
    s.do("resize", rows=41, cols=100).says(resume(0, rows=30, cols=100))
    out.append(s)

    s = S(
        "strict",
        "What breaks the protocol closes the connection, and the client comes back; a new type does not.",
    )
    s.live().do("receive_text", text='{"type":"from-the-future"}').data(0, b"abc").data(7, b"gap")
    s.do("tick", at=1.0).do("opened").says(resume(3)).data(0, b"K", Kind.KEYFRAME)
    s.do("tick", at=2.0).do("opened").says(resume(9)).do("tick", at=3.0).do("opened").data(3, b"early")
    s.do("tick", at=5.0).do("opened").says(resume(3), Keyframe(3, 4, 24, 80))
    s.do("tick", at=7.0).do("opened").do("receive_text", text="not JSON")
    out.append(s)

    s = S("told", "Messages for the person, and a token for the next attach.").live()
    s.says(Title("vim"), Renamed("train-2"), Notice("ttl", "This session ends soon.", 600), Token("t.2", 300))
    s.do("closed", at=6.0, code=1001).do("tick", at=7.0).do("opened").do("stop", at=8.0)
    out.append(s)
    return out


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for scenario in scenarios():
        scenario.write()
