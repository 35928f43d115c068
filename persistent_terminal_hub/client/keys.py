"""What comes from the outer terminal, sorted: keys, its answers to questions, the detach key. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from .errors import NotConfigured

#: Pasted text is between these, and contains no keys.
_PASTE_BEGIN: Final = b"\x1b[200~"
_PASTE_END: Final = b"\x1b[201~"

# No key sends these; a position (R) looks like F3, so it counts only while one was asked for.
_ANSWER: Final = re.compile(
    rb"\x1b\[[?>=][0-9;:]*c"  # device attributes
    rb"|\x1b\[\??[0-9;]*n"  # status
    rb"|\x1b\[\??[0-9;]*\$y"  # modes
    rb"|\x1b\[\?[0-9;:]*[uS]"  # kitty's keyboard flags, graphics
    rb"|\x1b\[>4;[0-9]*m"  # modifyOtherKeys
    rb"|\x1b\[[0-9;]+[tx]"  # window reports, parameters
    rb"|\x1b\[(?P<position>\??[0-9]+;[0-9;]+)R"
    rb"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # colours, clipboard
    rb"|\x1b[P_][^\x1b]*\x1b\\"  # DECRQSS, XTVERSION, XTGETTCAP, DA3, graphics
)
_UNFINISHED: Final = re.compile(rb"\x1b(?:\[[?>=]?[0-9;:]*\$?|[\]P_][^\x07\x1b]*\x1b?)?\Z")

Kind = Literal["keys", "answer", "position", "detach"]


@dataclass(frozen=True, slots=True)
class Item:
    """A piece of input and what it is."""

    kind: Kind
    data: bytes


@dataclass(frozen=True, slots=True)
class DetachKey:
    """A control key: the byte that it sends, and the sequences that it sends in newer keyboard modes."""

    name: str
    pattern: re.Pattern[bytes]

    @classmethod
    def parse(cls, text: str) -> DetachKey | None:
        """`ctrl-]`, `ctrl-a`, `^]`; `none` for no such key."""
        if text.lower() == "none":
            return None
        found = re.fullmatch(r"(?:ctrl-|c-|\^)([a-z@\[\]\\^_])", text.lower())
        if found is None:
            raise NotConfigured(
                f"{text!r} is no key to detach with.",
                "Write ctrl- and a letter or one of @ [ ] \\ ^ _, or none.",
            )
        char = found[1]
        code = ord(char)
        byte = re.escape(bytes([ord(char.upper()) & 0x1F]))
        # kitty's protocol and modifyOtherKeys. Modifiers are 1 plus bits; Ctrl is 4, locks are 64 and 128.
        ctrl = rb"(?:5|69|133|197)"
        csi_u = rb"\x1b\[%d(?::[0-9:]*)?;%b(?::[12])?(?:;[0-9:]*)?u" % (code, ctrl)
        other = rb"\x1b\[27;5;%d~" % code
        return cls(f"Ctrl-{char.upper()}", re.compile(b"|".join([byte, csi_u, other])))


class Keys:
    """Sorts input, whatever the pieces it comes in."""

    def __init__(self, detach: DetachKey | None) -> None:
        self._detach = detach
        self._held = b""
        self._pasting = False

    @property
    def holding(self) -> bool:
        """Whether the beginning of an answer waits for its rest; after a moment call `flush`."""
        return bool(self._held)

    def feed(self, data: bytes, *, expecting: bool) -> list[Item]:
        """Sort this. `expecting`: the terminal was asked something and may still answer."""
        data = self._held + data
        self._held = b""
        items: list[Item] = []
        while data:
            if self._pasting:
                data = self._paste(data, items)
                continue
            at = data.find(_PASTE_BEGIN)
            head, data = (data, b"") if at < 0 else (data[:at], data[at:])
            if expecting and not data and (open_ := _UNFINISHED.search(head)):
                self._held = head[open_.start() :]
                head = head[: open_.start()]
            if self._sort(head, expecting, items):
                return items
            self._pasting = at >= 0
        return items

    def flush(self) -> list[Item]:
        """What was held was a key after all."""
        held, self._held = self._held, b""
        return [Item("keys", held)] if held else []

    def _paste(self, data: bytes, items: list[Item]) -> bytes:
        end = data.find(_PASTE_END)
        if end >= 0:
            self._pasting = False
            end += len(_PASTE_END)
            self._add(items, "keys", data[:end])
            return data[end:]
        # The end may be cut; what is passed on is the same, only where pasting ends must be seen.
        for size in range(min(len(_PASTE_END) - 1, len(data)), 0, -1):
            if data.endswith(_PASTE_END[:size]):
                self._held = data[-size:]
                data = data[:-size]
                break
        self._add(items, "keys", data)
        return b""

    def _sort(self, data: bytes, expecting: bool, items: list[Item]) -> bool:
        """Sort what is not pasted; True when the detach key was pressed: what follows is nobody's."""
        at = 0
        for match in _ANSWER.finditer(data):
            kind: Kind = "answer"
            if match["position"] is not None:
                if not expecting:
                    continue
                kind = "position"
            if self._keys(data[at : match.start()], items):
                return True
            self._add(items, kind, match[0])
            at = match.end()
        return self._keys(data[at:], items)

    def _keys(self, data: bytes, items: list[Item]) -> bool:
        found = self._detach.pattern.search(data) if self._detach else None
        self._add(items, "keys", data if found is None else data[: found.start()])
        if found is not None:
            items.append(Item("detach", found[0]))
        return found is not None

    @staticmethod
    def _add(items: list[Item], kind: Kind, data: bytes) -> None:
        if data:
            items.append(Item(kind, data))
