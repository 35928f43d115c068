"""What a browser sends for a passkey, judged. Pure; one word says what was wrong, and nothing is raised.

Each check stands here by name, so that each refusal has its reason; the library checks all of it once more,
and the signature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers import (
    parse_attestation_object,
    parse_authentication_credential_json,
    parse_authenticator_data,
    parse_client_data_json,
    parse_registration_credential_json,
)
from webauthn.helpers.structs import AuthenticatorData

from persistent_terminal_hub.hub.passkey_rules import Site
from persistent_terminal_hub.hub.passkey_store import Passkey

#: Characters of an answer; ours have one or two thousand.
MAX_ANSWER: Final = 32_768
#: Bytes of a credential id (WebAuthn 5.8.3) and of a public key.
_MAX_ID: Final = 1023
_MAX_KEY: Final = 4096

Reason = Literal[
    "ok", "garbage", "unknown", "kind", "challenge", "origin", "rp_id", "presence", "user_verification",
    "account", "signature", "attestation",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Expected:
    """What the hub asked for."""

    challenge: bytes
    site: Site
    #: `passkey_rules.user_handle`.
    user_handle: bytes


@dataclass(frozen=True, slots=True)
class Used:
    """How an assertion was judged. The counter is verified only when the reason is `ok`."""

    reason: Reason
    id: bytes = b""
    sign_count: int = 0


@dataclass(frozen=True, slots=True)
class Made:
    """How a registration was judged, and what to keep when the reason is `ok`."""

    reason: Reason
    id: bytes = b""
    public_key: bytes = b""
    sign_count: int = 0
    transports: tuple[str, ...] = ()


def judge_assertion(answer: str, expected: Expected, mine: Mapping[bytes, Passkey]) -> Used:
    """A passkey was used. `mine` are those of the user who has to prove it, at this site, by id."""
    if len(answer) > MAX_ANSWER:
        return Used("garbage")
    try:
        credential = parse_authentication_credential_json(answer)
        data = parse_authenticator_data(credential.response.authenticator_data)
        wrong = _wrong(credential.response.client_data_json, data, "webauthn.get", expected)
    except Exception:  # the library's, the decoders', whatever a hostile answer brings about
        return Used("garbage")
    passkey = mine.get(credential.raw_id)
    if passkey is None:
        return Used("unknown")
    if wrong != "ok":
        return Used(wrong, passkey.id)
    handle = credential.response.user_handle
    if handle is not None and handle != expected.user_handle:
        return Used("account", passkey.id)
    try:
        verified = verify_authentication_response(
            credential=credential,
            expected_challenge=expected.challenge,
            expected_rp_id=expected.site.rp_id,
            expected_origin=expected.site.origin,
            credential_public_key=passkey.public_key,
            # Compared by the store, in one step with writing it.
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except Exception:
        return Used("signature", passkey.id)
    return Used("ok", passkey.id, verified.new_sign_count)


def judge_registration(answer: str, expected: Expected) -> Made:
    """A passkey was made. Which maker's it is does not matter to us: no attestation is asked for."""
    if len(answer) > MAX_ANSWER:
        return Made("garbage")
    try:
        credential = parse_registration_credential_json(answer)
        data = parse_attestation_object(credential.response.attestation_object).auth_data
        wrong = _wrong(credential.response.client_data_json, data, "webauthn.create", expected)
    except Exception:
        return Made("garbage")
    if wrong != "ok":
        return Made(wrong)
    try:
        verified = verify_registration_response(
            credential=credential,
            expected_challenge=expected.challenge,
            expected_rp_id=expected.site.rp_id,
            expected_origin=expected.site.origin,
            require_user_verification=True,
        )
    except Exception:
        return Made("attestation")
    if (
        verified.credential_id != credential.raw_id
        or not 0 < len(verified.credential_id) <= _MAX_ID
        or len(verified.credential_public_key) > _MAX_KEY
    ):
        return Made("attestation")
    return Made(
        "ok",
        verified.credential_id,
        verified.credential_public_key,
        verified.sign_count,
        tuple(dict.fromkeys(str(hint.value) for hint in credential.response.transports or ())),
    )


def _wrong(client_data_json: bytes, data: AuthenticatorData, kind: str, expected: Expected) -> Reason:
    client = parse_client_data_json(client_data_json)
    if client.type != kind:
        return "kind"
    if client.challenge != expected.challenge:
        return "challenge"
    if client.origin != expected.site.origin or client.cross_origin:
        return "origin"
    if data.rp_id_hash != hashlib.sha256(expected.site.rp_id.encode()).digest():
        return "rp_id"
    if not data.flags.up:
        return "presence"
    if not data.flags.uv:
        return "user_verification"
    return "ok"
