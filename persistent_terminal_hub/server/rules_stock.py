"""A warning in the title of a stock terminal: the only place that such a client has for it. Pure.

It is sent to that client only, never typed, never written into the journal; and only where the program's own
output is between two sequences, so that none is torn.
"""

from __future__ import annotations

import codecs

from .sequences import MAX_HELD, SEQUENCE, is_finished

#: Bytes before the end of the output that are looked at.
LOOK = MAX_HELD
MAX_TITLE = 200


def title_sequence(text: str) -> str:
    """What sets a terminal's title."""
    shown = "".join(c if c.isprintable() else " " for c in text)[:MAX_TITLE]
    return f"\x1b]2;{shown}\x07"


def is_between_sequences(tail: bytes) -> bool:
    """Whether output that ends like this is in the middle of nothing: no sequence, no character."""
    for match in SEQUENCE.finditer(tail):
        if match.end() == len(tail) and not is_finished(match):
            return False
    decoder = codecs.getincrementaldecoder("utf-8")("ignore")
    decoder.decode(tail[-4:])
    return not decoder.getstate()[0]  # a character that is not complete
