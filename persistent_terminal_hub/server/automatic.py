"""Which input a terminal sends by itself, so that nobody needs to be there for it. Pure.

An emulator answers a program's questions as if it typed; a program that asks every second must not keep a
workspace from locking. What a person does with keys, mouse or a paste never looks like an answer, with one
exception that is decided against the person: Shift-F3 in old terminals looks like a report of the cursor.
"""

from __future__ import annotations

import re

_CSI = (
    rb"[?>=]?[0-9;:]*c"  # what the terminal is: DA1, DA2
    rb"|\??[0-9;:]*n"  # DSR: status, colour scheme
    rb"|\??[0-9]+(?:;[0-9]+)+R"  # CPR: where the cursor is
    rb"|\??[0-9;:]*\$y"  # DECRPM: whether a mode is set
    rb"|[0-9;:]*t"  # XTWINOPS: size of the window, in-band resize
    rb"|[0-9;:]*x"  # DECREPTPARM
    rb"|\?[0-9;:]*[uS]"  # flags of the kitty keyboard, graphics
    rb"|>[0-9;:]*m"  # XTQMODKEYS
    rb"|[IO]"  # the window got the focus, or lost it
)
# OSC (colours, clipboard), DCS (XTGETTCAP, DECRQSS, XTVERSION), APC (graphics), PM, SOS: no key sends these.
_STRING = rb"\][^\x07\x1b]*+(?:\x07|\x1b\\)|[P_^X][^\x1b]*+\x1b\\"
_ANSWERS = re.compile(rb"(?:\x1b(?:\[(?:%b)|%b))*+" % (_CSI, _STRING), re.DOTALL)


def is_automatic_answer(data: bytes) -> bool:
    """Whether these bytes are nothing but reports and answers of an emulator (or nothing at all)."""
    if data and data[0] != 0x1B:
        return False
    return _ANSWERS.fullmatch(data) is not None
