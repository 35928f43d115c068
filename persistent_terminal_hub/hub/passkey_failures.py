"""What people are told when a passkey was not accepted, by the one word that says why."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

LOCKED: Final = "Your workspace stays locked"

_NOT_USED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "unknown": "That passkey is none that you have enrolled here. {kept}; try again with one of yours.",
        "user_verification": (
            "Your device did not check that it is you (by PIN, finger or face), so that passkey proves "
            "nothing. {kept}; set up a screen lock or a PIN on the device, or use another one."
        ),
        "sign_count": (
            "The counter of this passkey went back: it may have been copied, so it is not accepted. {kept}. "
            "Remove it from your passkeys, enrol a new one, and tell an administrator."
        ),
        "origin": "That passkey was used at another address than this hub's. {kept}; try again here.",
        "rp_id": "That passkey was made for another site than this hub. {kept}; try again with one of yours.",
        "challenge": "That was the answer to an earlier question. {kept}; try again.",
    }
)
_OTHERWISE: Final = "What the browser sent proves nothing. {kept}; try again."

_NOT_MADE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "user_verification": (
            "Your device did not check that it is you (by PIN, finger or face), so its passkey would prove "
            "nothing. None was added; set up a screen lock or a PIN on the device, or use another one."
        ),
        "attestation": "This kind of passkey is not accepted. None was added; use another device or key.",
        "enrolled": "This passkey is enrolled already. None was added.",
    }
)
_NOT_MADE_OTHERWISE: Final = "What the browser sent is no new passkey of yours. None was added; try again."

AWAY: Final = (
    "The hub cannot read its passkeys just now. Nothing was changed; try again in a moment, and tell an "
    "administrator if it goes on: the hub's log says why."
)
TOO_MANY: Final = "You have as many passkeys as one can have here. None was added; remove one first."
NOT_THERE: Final = "You have no such passkey any more. Nothing was changed."
PROVE_FIRST: Final = "Nothing was changed: first prove that it is you, then try again within five minutes."
LOG_IN_FIRST: Final = (
    "Nothing was changed: log out and log in again, then add your first passkey within ten minutes."
)

NEEDED_TO_START: Final = (
    "This workspace locks when nobody uses it, and only a passkey of {user} could open it again: the way of "
    "logging in here proves no fresh login. Nothing was started and nothing was lost. Add a passkey, then "
    "start it again."
)


def not_used(reason: str) -> str:
    """Why a passkey proved nothing, and what was kept."""
    return _NOT_USED.get(reason, _OTHERWISE).format(kept=LOCKED)


def not_made(reason: str) -> str:
    """Why no passkey was added."""
    return _NOT_MADE.get(reason, _NOT_MADE_OTHERWISE)
