"""What the home page says of a workspace: words from what the hub knows and what the workspace told (pure).

Two sources. The hub knows whether a workspace runs, and is always there. The workspace tells its sessions,
and may be slow, locked, older than this hub, or away: then its card says so, and the others are as they were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from persistent_terminal_hub import policy
from persistent_terminal_hub.json_values import amount
from persistent_terminal_hub.policy import Rules, SessionFacts, WorkspaceFacts, span
from persistent_terminal_hub.workspace_facts import BadFacts, facts_of, unlock_asked

State = Literal["making", "running", "silent", "locked", "starting", "stopping", "stopped", "new"]
#: What the hub holds it to be doing.
Phase = Literal["running", "starting", "stopping", "stopped", "new"]

#: Sessions that are listed at once; the others are behind a button.
SHOWN = 4
#: Ends that lie closer together than this, in seconds, are told as one.
TOGETHER = 60.0
KIB = 1024.0
#: In the foreground of a session, these wait for somebody; anything else is at work.
SHELLS = frozenset(
    (
        "ash",
        "bash",
        "csh",
        "dash",
        "elvish",
        "fish",
        "ksh",
        "mksh",
        "nu",
        "pwsh",
        "sh",
        "tcsh",
        "xonsh",
        "zsh",
    )
)

BADGES: dict[State, str] = {
    "making": "Being made",
    "running": "Running",
    "silent": "Not answering",
    "locked": "Locked",
    "starting": "Starting",
    "stopping": "Stopping",
    "stopped": "Stopped",
    "new": "Not started yet",
}

SENTENCES: dict[State, str] = {
    "making": "It is being made.",
    "running": "",  # the page says once, above all cards, what that means
    "silent": "It runs but is not answering at the moment. It is left alone, and its terminals go on; "
    "opening it works again as soon as it answers. Stopping it ends them.",
    "locked": "Its terminals go on, and nothing of them is shown until you log in again.",
    "starting": "It is starting.",
    "stopping": "It is being stopped. Your files are kept.",
    "stopped": "It is stopped, and so are its terminals. Your files are kept.",
    "new": "It has not been started yet.",
}


@dataclass(frozen=True, slots=True)
class Usage:
    """What a workspace uses; None: not known."""

    #: CPUs in use on average since it was asked before.
    cpus: float | None = None
    memory: float | None = None  # bytes
    memory_limit: float | None = None
    disk: float | None = None
    disk_quota: float | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """A workspace's own answer."""

    facts: WorkspaceFacts
    #: Session id -> the program in its foreground.
    programs: Mapping[str, str] = field(default_factory=dict)
    #: Wall clock; None: open, or not told.
    locked_since: float | None = None
    #: Who asks the owner to unlock it, as a sentence.
    asked: str = ""
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Known:
    """What the hub knows of a workspace."""

    name: str
    display_name: str
    phase: Phase
    url: str
    #: False: it did not answer the hub when it was last asked.
    answering: bool = True
    #: Seconds since JupyterHub noted activity; None: never.
    idle: float | None = None
    #: What the start says at the moment, or why the last one failed.
    message: str = ""
    failed: bool = False
    #: What is being done for a workspace that is made with a repository in it; empty: nothing.
    making: str = ""


@dataclass(frozen=True, slots=True)
class SessionLine:
    """A session in a list."""

    id: str
    name: str
    state: Literal["busy", "active", "dormant"]
    text: str
    #: Something but a shell runs in it.
    at_work: bool = False


@dataclass(frozen=True, slots=True)
class Meter:
    """Something that is used; `percent` of a limit, None where none is known."""

    label: str
    text: str
    percent: int | None = None


@dataclass(frozen=True, slots=True)
class Expiry:
    """What ends next: a sentence, in which the name of a session may stand."""

    before: str
    name: str = ""
    after: str = ""
    soon: bool = False

    @property
    def text(self) -> str:
        """The sentence."""
        return f"{self.before}{self.name}{self.after}"


@dataclass(frozen=True, slots=True)
class Card:
    """A workspace on the home page."""

    name: str
    title: str
    url: str
    state: State
    badge: str
    sentence: str
    #: Who asks for it to be unlocked, as a sentence; empty: nobody.
    asked: str = ""
    #: When it was locked, seconds of the wall clock.
    since: float | None = None
    #: One of: told, asking, silent, hidden (locked), none (it does not run).
    known: Literal["told", "asking", "silent", "hidden", "none"] = "none"
    summary: str = ""
    sessions: tuple[SessionLine, ...] = ()
    meters: tuple[Meter, ...] = ()
    expiry: Expiry | None = None
    activity: str = ""
    failed: str = ""
    actions: frozenset[str] = frozenset()

    @property
    def ends(self) -> tuple[SessionLine, ...]:
        """What a stop would end that somebody may miss."""
        return tuple(session for session in self.sessions if session.at_work)

    @property
    def busy_with(self) -> bool:
        """Whether the page should look again soon."""
        return self.state in ("making", "starting", "stopping") or self.known == "asking"


def card(known: Known, told: Told | None, rules: Rules, now: float, *, asked: bool = True) -> Card:
    """The card. `told` None: it did not answer, or (`asked` False) has not yet. `now`: the wall clock."""
    state = _state(known, told)
    title = known.display_name or known.name or "Default workspace"
    base = Card(
        name=known.name,
        title=title,
        url=known.url,
        state=state,
        badge=BADGES[state],
        sentence=_sentence(known, state),
        activity=_activity(known, told),
        failed=known.message if known.failed and state in ("stopped", "new") else "",
        actions=_actions(known, state),
    )
    if known.phase != "running" or state == "making":
        return base
    if told is None:
        silent = asked or not known.answering
        text = "Its sessions are not known at the moment." if silent else "Asking for its sessions…"
        return replace(base, known="silent" if silent else "asking", summary=text)
    facts = told.facts
    lines = lines_of(facts.sessions, told.programs)
    base = replace(base, summary=summary(lines), meters=meters(told.usage))
    if facts.locked:
        since = told.locked_since
        badge = base.badge if since is None else f"Locked for {about(max(0.0, now - since))}"
        return replace(base, known="hidden", since=since, badge=badge, asked=told.asked)
    return replace(base, known="told", sessions=lines, expiry=expiry(facts, rules))


def _state(known: Known, told: Told | None) -> State:
    if known.making:
        return "making"
    if known.phase != "running":
        return known.phase
    if told is not None:
        return "locked" if told.facts.locked else "running"
    return "running" if known.answering else "silent"


def _sentence(known: Known, state: State) -> str:
    if state == "making":
        return known.making
    if state == "starting" and known.message:
        return known.message
    return SENTENCES[state]


def _actions(known: Known, state: State) -> frozenset[str]:
    if state == "making":
        return frozenset()
    if known.phase == "running":
        return frozenset({"open", "stop"} | (set() if state == "locked" else {"lock"}))
    if known.phase == "starting":
        return frozenset({"follow", "stop"})
    if known.phase == "stopping":
        return frozenset()
    return frozenset({"start"} | ({"delete"} if known.name else set()))


def _activity(known: Known, told: Told | None) -> str:
    if told is not None and known.phase == "running":
        facts = told.facts
        if facts.since_presence < 60:
            return "" if facts.locked else "You are there now."
        return f"You were last there {about(facts.since_presence)} ago."
    if known.phase == "new" or known.idle is None:
        return ""
    return f"Last used {about(known.idle)} ago."


# ---- sessions


def lines_of(sessions: Sequence[SessionFacts], programs: Mapping[str, str]) -> tuple[SessionLine, ...]:
    """Those at work first, the longest first; then those that somebody looks at; then by name."""
    lines = ((session, _line(session, programs)) for session in sessions)
    ordered = sorted(
        lines,
        key=lambda each: (
            not each[0].busy, -each[0].busy_for, not each[1].at_work, not each[0].attached,
            each[0].name, each[0].id,
        ),
    )  # fmt: skip
    return tuple(line for _, line in ordered)


def _line(session: SessionFacts, programs: Mapping[str, str]) -> SessionLine:
    program = programs.get(session.id, "")
    if session.busy:
        text = f"busy with {program or 'a program'} for {about(session.busy_for)}"
        return SessionLine(session.id, session.name, "busy", text, True)
    state: Literal["active", "dormant"] = "active" if session.attached else "dormant"
    # A session that is one program, no shell's child, is never "busy".
    own = bool(program) and program.lstrip("-") not in SHELLS
    return SessionLine(session.id, session.name, state, f"{state}, runs {program}" if own else state, own)


def summary(lines: Sequence[SessionLine]) -> str:
    """How many sessions there are, and what they do."""
    if not lines:
        return "No sessions."
    count = "1 session" if len(lines) == 1 else f"{len(lines)} sessions"
    kinds = [(sum(line.state == kind for line in lines), kind) for kind in ("busy", "active", "dormant")]
    return f"{count}: {', '.join(f'{number} {kind}' for number, kind in kinds if number)}."


# ---- usage


def meters(usage: Usage) -> tuple[Meter, ...]:
    """What is known of it."""
    found = []
    if usage.cpus is not None:
        found.append(
            Meter("CPU", f"{usage.cpus:.2f} CPUs" if usage.cpus < 9.995 else f"{usage.cpus:.0f} CPUs")
        )
    for label, used, limit in (
        ("Memory", usage.memory, usage.memory_limit),
        ("Files", usage.disk, usage.disk_quota),
    ):
        if used is None:
            continue
        if limit:
            text, percent = f"{size(used)} of {size(limit)}", min(100, round(100 * used / limit))
            found.append(Meter(label, text, percent))
        else:
            found.append(Meter(label, size(used)))
    return tuple(found)


def size(number: float) -> str:
    """Bytes as people say them."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if number < KIB or unit == "TiB":
            break
        number /= KIB
    return f"{number:.0f} {unit}" if unit == "B" or number >= 9.95 else f"{number:.1f} {unit}"


# ---- what ends next


def expiry(facts: WorkspaceFacts, rules: Rules) -> Expiry:
    """The next end that comes if nothing changes."""
    due = policy.ends(facts, rules)
    if not due:
        return Expiry("Nothing here ends by itself.")
    left, code, identity = due[0]
    soon = left <= rules.warn_before
    when = "any moment now" if left < 1 else f"in {about(left)}"
    if identity is None:
        if code == "idle_stop":
            return Expiry(f"If nobody uses it, the workspace stops {when}.", soon=soon)
        return Expiry(f"The workspace stops {when}, because of its age.", soon=soon)
    together = {
        each for each_left, kind, each in due if kind == code and each and each_left - left <= TOGETHER
    }
    away = "If you stay away, " if code == "ttl" else ""
    why = "." if code == "ttl" else ", because of its age."
    if len(together) > 1:
        many = f"{len(together)} sessions end {when}"
        return Expiry(f"{away}{many}{why.replace('its', 'their')}", soon=soon)
    name = next(session.name for session in facts.sessions if session.id == identity)
    begin = f"{away}session " if away else "Session "
    return Expiry(begin, name, f" ends {when}{why}", soon=soon)


def about(seconds: float) -> str:
    """A duration, no more exact than anybody wants to know."""
    if seconds < 60:
        return "less than a minute"
    return span(seconds - seconds % 60 if seconds < 86400 else seconds - seconds % 3600)


# ---- what a workspace says


def told_of(model: object, taken: float) -> Told:
    """From the answer of `api/facts`, with suspicion. Raises BadFacts."""
    facts, _ = facts_of(model, taken)
    top: Mapping[str, Any] = model if isinstance(model, dict) else {}
    programs = {
        str(entry.get("id")): str(entry.get("program"))[:60]
        for entry in top.get("sessions", [])
        if isinstance(entry, dict) and isinstance(entry.get("program"), str) and entry["program"]
    }
    return Told(facts, programs, amount(top.get("locked_since")), unlock_asked(top))


__all__ = ["BadFacts", "Card", "Known", "Told", "Usage", "card", "told_of"]
