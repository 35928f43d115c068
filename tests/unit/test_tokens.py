"""Tokens: what is believed, and one reason for each that is not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any, get_args

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed448, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from persistent_terminal_hub import tokens
from persistent_terminal_hub.tokens import (
    MAX_TOKEN,
    Purpose,
    Reason,
    SigningKey,
    TokenError,
    Verified,
    issue,
    jwks,
    keys_of,
    verify,
)

NOW = 1_800_000_000.0
KEY, OTHER = SigningKey.generate(), SigningKey.generate()
KEYS = keys_of(jwks([KEY]))
HUB, PLACE = "hub:0123456789ab", "workspace:alice/"
HEADER = {"alg": "EdDSA", "kid": KEY.kid, "typ": "pth-unlock+jwt"}
PAYLOAD: dict[str, Any] = {
    "iss": HUB, "aud": PLACE, "sub": "alice", "iat": int(NOW), "exp": int(NOW) + 60, "jti": "a" * 22,
}  # fmt: skip


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def sign(header: Any, payload: Any, key: SigningKey = KEY) -> str:
    """Any header and payload, rightly signed; bytes are taken as they are."""
    parts = [
        b64(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in (header, payload)
    ]
    return ".".join([*parts, b64(key._private.sign(".".join(parts).encode()))])


def token(**changes: Any) -> str:
    """A good token, but for these claims; None leaves one out."""
    return sign(HEADER, {name: value for name, value in (PAYLOAD | changes).items() if value is not None})


def check(given: object, now: float = NOW, **options: Any) -> Verified:
    options = {"issuer": HUB, "audience": PLACE, "subject": "alice", "max_lifetime": 60} | options
    return verify(given, options.pop("keys", KEYS), Purpose.UNLOCK, now=now, **options)


def reason(given: object, now: float = NOW, **options: Any) -> str:
    with pytest.raises(TokenError) as caught:
        check(given, now, **options)
    text = str(caught.value)
    assert text.endswith(".") and (not isinstance(given, str) or len(given) < 20 or given not in text)
    return caught.value.reason


def test_what_was_issued_is_believed() -> None:
    text = issue(
        KEY, Purpose.STEER, issuer=HUB, audience=PLACE, subject="hub", lifetime=60, now=NOW + 0.7,
        claims={"actions": ["lock"]},
    )  # fmt: skip
    found = verify(text, KEYS, Purpose.STEER, issuer=HUB, audience=PLACE, now=NOW, max_lifetime=60)
    assert (found.purpose, found.subject, found.issuer, found.audience) == (Purpose.STEER, "hub", HUB, PLACE)
    assert (found.issued, found.expires) == (NOW, NOW + 60)
    assert found.claims == {"actions": ["lock"]} and len(found.token_id) == 22
    # By the library on its own terms, too: nothing about it is peculiar to us.
    said = jwt.decode(
        text, KEY.public, ["EdDSA"], audience=PLACE, options={"verify_exp": False, "verify_iat": False}
    )
    assert said["sub"] == "hub"
    again = issue(KEY, Purpose.STEER, issuer=HUB, audience=PLACE, subject="hub", lifetime=60, now=NOW)
    assert verify(again, KEYS, Purpose.STEER, issuer=HUB, audience=PLACE, now=NOW, max_lifetime=60) != found


def test_the_clock_of_the_machine() -> None:
    text = issue(KEY, Purpose.UNLOCK, issuer=HUB, audience=PLACE, subject="alice", lifetime=60)
    assert abs(check(text, time.time()).issued - time.time()) < 5


def none_token() -> str:
    return f"{b64(json.dumps({'alg': 'none', 'kid': KEY.kid, 'typ': HEADER['typ']}).encode())}." + (
        f"{b64(json.dumps(PAYLOAD).encode())}."
    )


def confused(secret: bytes) -> str:
    """HS256 with the public key as the secret."""
    body = f"{b64(json.dumps(HEADER | {'alg': 'HS256'}).encode())}.{b64(json.dumps(PAYLOAD).encode())}"
    return f"{body}.{b64(hmac.new(secret, body.encode(), hashlib.sha256).digest())}"


PUBLIC_PEM = KEY.public.public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
GOOD = token()
HEAD, BODY, SIGNATURE = GOOD.split(".")

HOSTILE: list[tuple[str, Reason, object]] = [
    ("expired", "expired", token(iat=int(NOW) - 200, exp=int(NOW) - 140)),
    ("from the future", "not_yet", token(iat=int(NOW) + 100, exp=int(NOW) + 160)),
    ("not valid before", "not_yet", token(nbf=int(NOW) + 100)),
    ("longer than allowed", "too_long", token(exp=int(NOW) + 61)),
    ("for ever", "too_long", token(exp=999_999_999_999)),
    ("forged by another key", "signature", sign(HEADER, PAYLOAD, OTHER)),
    ("key of nobody", "signature", sign(HEADER | {"kid": OTHER.kid}, PAYLOAD, OTHER)),
    ("other payload", "signature",
     f"{HEAD}.{b64(json.dumps(PAYLOAD | {'sub': 'eve'}).encode())}.{SIGNATURE}"),
    ("signature cut", "signature", GOOD[:-10]),
    ("no signature", "signature", f"{HEAD}.{BODY}."),
    ("signature of zeros", "signature", f"{HEAD}.{BODY}.{b64(bytes(64))}"),
    ("alg none", "signature", none_token()),
    ("alg NONE", "signature", none_token().replace(b64(b'{"alg": "none"'), b64(b'{"alg": "NONE"'))),
    ("key confusion, PEM", "signature", confused(PUBLIC_PEM)),
    ("key confusion, raw", "signature", confused(KEY.public.public_bytes_raw())),
    ("alg in another case", "signature", sign(HEADER | {"alg": "eddsa"}, PAYLOAD)),
    ("alg RS256", "signature", sign(HEADER | {"alg": "RS256"}, PAYLOAD)),
    ("embedded jwk", "malformed", sign(HEADER | {"jwk": OTHER.public_jwk()}, PAYLOAD, OTHER)),
    ("embedded jwk, own kid", "malformed", sign(
        HEADER | {"kid": OTHER.kid, "jwk": OTHER.public_jwk()}, PAYLOAD, OTHER)),
    ("jku", "malformed", sign(HEADER | {"jku": "https://evil.example/jwks"}, PAYLOAD)),
    ("x5u", "malformed", sign(HEADER | {"x5u": "https://evil.example/c"}, PAYLOAD)),
    ("x5c", "malformed", sign(HEADER | {"x5c": ["AAAA"]}, PAYLOAD)),
    ("crit", "malformed", sign(HEADER | {"crit": ["exp"]}, PAYLOAD)),
    ("b64 false", "malformed", sign(HEADER | {"b64": False}, PAYLOAD)),
    ("kid is a list", "malformed", sign(HEADER | {"kid": [KEY.kid]}, PAYLOAD)),
    ("kid is a number", "malformed", sign(HEADER | {"kid": 1}, PAYLOAD)),
    ("kid is a path", "signature", sign(HEADER | {"kid": "../../dev/null"}, PAYLOAD)),
    ("no kid", "malformed", sign({"alg": "EdDSA", "typ": "pth-unlock+jwt"}, PAYLOAD)),
    ("no typ", "malformed", sign({"alg": "EdDSA", "kid": KEY.kid}, PAYLOAD)),
    ("kid twice", "malformed", sign(
        json.dumps(HEADER).encode()[:-1] + f', "kid": "{KEY.kid}"}}'.encode(), PAYLOAD)),
    ("typ JWT", "purpose", sign(HEADER | {"typ": "JWT"}, PAYLOAD)),
    ("purpose in another case", "purpose", sign(HEADER | {"typ": "pth-UNLOCK+jwt"}, PAYLOAD)),
    *[(f"purpose {other}", "purpose", sign(HEADER | {"typ": other.type}, PAYLOAD))
      for other in Purpose if other is not Purpose.UNLOCK],
    ("issuer", "issuer", token(iss="hub:ffffffffffff")),
    ("issuer is a workspace", "issuer", token(iss=PLACE)),
    ("audience", "audience", token(aud="workspace:alice/lab")),
    ("audience of another user", "audience", token(aud="workspace:bob/")),
    ("audience is a list", "malformed", token(aud=[PLACE])),
    ("subject", "subject", token(sub="eve")),
    ("subject is a number", "malformed", token(sub=7)),
    ("subject is empty", "malformed", token(sub="")),
    *[(f"no {name}", "malformed", token(**{name: None})) for name in PAYLOAD],
    *[(f"{name} is {value!r}", "malformed", token(**{name: value}))
      for name in ("iat", "exp", "nbf") for value in ("1", True, [], {}, 1e18, -1e18)],
    ("exp is NaN", "malformed", sign(HEADER, json.dumps(PAYLOAD | {"exp": float("nan")}).encode())),
    ("exp is infinite", "malformed", sign(HEADER, json.dumps(PAYLOAD).encode()[:-1] + b', "nbf": 1e999}')),
    ("exp of 5,000 digits", "malformed", sign(HEADER, b'{"exp": ' + b"9" * 5000 + b"}")),
    ("exp before iat", "malformed", token(exp=int(NOW) - 1)),
    ("exp twice", "malformed", sign(HEADER, json.dumps(PAYLOAD).encode()[:-1] + b', "exp": 9999999999}')),
    ("jti is a number", "malformed", token(jti=1)),
    ("jti of a megabyte", "malformed", sign(HEADER, PAYLOAD | {"jti": "a" * 2**20})),
    ("jti too long", "malformed", token(jti="a" * 129)),
    ("jti with a newline", "malformed", token(jti="a\n")),
    ("payload is a list", "malformed", sign(HEADER, [PAYLOAD])),
    ("payload is null", "malformed", sign(HEADER, None)),
    ("payload is not JSON", "malformed", sign(HEADER, b"\xff\xfe")),
    ("payload is deep", "malformed", sign(HEADER, b"[" * 3000)),
    ("header is deep", "malformed", sign(b'{"a":' * 1000, PAYLOAD)),
    ("header is a text", "malformed", sign("EdDSA", PAYLOAD)),
    ("nested", "malformed", sign(HEADER, GOOD.encode())),
    ("nested, said so", "malformed", sign(HEADER | {"cty": "JWT"}, GOOD.encode())),
    ("padded", "malformed", f"{HEAD}=.{BODY}.{SIGNATURE}"),
    ("second spelling of the signature", "malformed", None),  # see below
    ("standard alphabet", "malformed", f"{HEAD}.{BODY}.{'+/' * 43}"),
    ("JSON form", "malformed", json.dumps({"protected": HEAD, "payload": BODY, "signature": SIGNATURE})),
    ("five parts", "malformed", f"{GOOD}.{HEAD}.{BODY}"),
    ("two parts", "malformed", f"{HEAD}.{BODY}"),
    ("dots", "malformed", ".."),
    ("empty", "malformed", ""),
    ("a space before", "malformed", " " + GOOD),
    ("a newline after", "malformed", GOOD + "\n"),
    ("huge", "malformed", "A" * 10_000_000),
    ("huge dots", "malformed", "." * 10_000_000),
    ("just too long", "malformed", f"{HEAD}.{b64(b' ' * MAX_TOKEN)}.{SIGNATURE}"),
    ("not ASCII", "malformed", GOOD.replace("e", "е", 1)),
    ("a lone surrogate", "malformed", "\ud800" + GOOD),
    ("bytes", "malformed", GOOD.encode()),
    ("None", "malformed", None),
    ("a dictionary", "malformed", {"alg": "EdDSA"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "wanted", "given"), HOSTILE, ids=[name for name, _, _ in HOSTILE])
def test_hostile(name: str, wanted: Reason, given: object) -> None:
    if name == "second spelling of the signature":
        # 64 bytes leave two bits of the last character unused: flip one of them.
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        given = GOOD[:-1] + alphabet[alphabet.index(GOOD[-1]) ^ 1]
        assert base64.urlsafe_b64decode(str(given).split(".")[2] + "==") == base64.urlsafe_b64decode(
            SIGNATURE + "=="
        )
    assert reason(given) == wanted


def test_every_reason_occurs() -> None:
    assert {wanted for _, wanted, _ in HOSTILE} == set(get_args(Reason)) == set(tokens._SENTENCES)


def test_bounds_of_the_clocks() -> None:
    end = NOW + 60
    assert check(GOOD, NOW - 30) and check(GOOD, end + 29.999)
    assert reason(GOOD, NOW - 30.001) == "not_yet"
    assert reason(GOOD, end + 30) == "expired"
    assert check(GOOD, NOW, leeway=0) and check(GOOD, end - 0.001, leeway=0)
    assert reason(GOOD, NOW - 0.001, leeway=0) == "not_yet" and reason(GOOD, end, leeway=0) == "expired"
    # A wall clock that jumped by a day, either way.
    assert reason(GOOD, NOW - 86400) == "not_yet" and reason(GOOD, NOW + 86400) == "expired"
    assert reason(GOOD, max_lifetime=59) == "too_long"
    assert check(GOOD, subject=None).subject == "alice"


def test_other_kinds_of_key_are_not_used() -> None:
    for key in (
        ed448.Ed448PrivateKey.generate().public_key(),
        rsa.generate_private_key(65537, 2048).public_key(),
        PUBLIC_PEM,
        None,
    ):
        assert reason(GOOD, keys={KEY.kid: key}) == "signature"
    assert reason(GOOD, keys={}) == "signature"


def test_issue_refuses_what_could_not_be_verified() -> None:
    good: dict[str, Any] = {"issuer": HUB, "audience": PLACE, "subject": "alice", "lifetime": 60}
    for bad in (
        {"issuer": ""}, {"audience": ""}, {"subject": ""}, {"lifetime": 0}, {"lifetime": -1},
        {"lifetime": float("inf")}, {"lifetime": float("nan")}, {"claims": {"exp": 1}},
        {"claims": {"a": "a" * MAX_TOKEN}},
    ):  # fmt: skip
        with pytest.raises(ValueError):
            issue(KEY, Purpose.SHARE, **(good | bad))
    short = issue(KEY, Purpose.UNLOCK, **(good | {"lifetime": 0.2}), now=NOW)
    assert check(short, NOW + 0.5, leeway=0).expires == NOW + 1, "rounded up, never valid for nothing"


def test_keys_are_kept_and_named() -> None:
    again = SigningKey.from_pem(KEY.to_pem())
    assert again.kid == KEY.kid and again.public_jwk() == KEY.public_jwk()
    assert "PRIVATE" not in repr(KEY) and "d" not in KEY.public_jwk()
    # RFC 8037, appendix A: the thumbprint of its key.
    d = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    key = SigningKey(tokens.Ed25519PrivateKey.from_private_bytes(d))
    assert key.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    for pem in (
        b"", b"garbage", KEY.to_pem()[:60], PUBLIC_PEM,
        rsa.generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        KEY._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"x")),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            SigningKey.from_pem(pem)


def test_jwks_documents() -> None:
    both = jwks([KEY, OTHER])
    assert set(keys_of(json.loads(json.dumps(both)))) == {KEY.kid, OTHER.kid}
    assert jwks(keys_of(both)) == both
    mine = KEY.public_jwk()
    bad: list[Any] = [
        None, [], "x", 1, {}, mine | {"kty": "RSA"}, mine | {"crv": "Ed448"}, mine | {"kid": 1},
        mine | {"kid": ""}, mine | {"kid": "k" * 129}, mine | {"kid": []}, mine | {"x": 1},
        mine | {"x": "AA"},
        mine | {"x": mine["x"] + "="},
        mine | {"x": "é" * 43}, mine | {"alg": "HS256"}, mine | {"use": "enc"},
        mine | {"kty": ["OKP"]},
    ]  # fmt: skip
    assert keys_of({"keys": bad}) == {}
    assert set(keys_of({"keys": [*bad[:5], mine, *bad[5:]]})) == {KEY.kid}
    # The same key twice is one key; two keys of one name are none.
    assert set(keys_of({"keys": [mine, mine]})) == {KEY.kid}
    assert keys_of({"keys": [mine, OTHER.public_jwk() | {"kid": KEY.kid}, mine]}) == {}
    assert len(keys_of({"keys": [mine | {"kid": str(number)} for number in range(1000)]})) == tokens.MAX_KEYS
    for document in (None, [], "x", 1, {}, {"keys": None}, {"keys": {}}, {"keys": "x"}):
        with pytest.raises(TokenError) as caught:
            keys_of(document)
        assert caught.value.reason == "malformed"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def never_more_than_a_reason(given: object) -> Verified | None:
    try:
        return check(given)
    except TokenError as error:
        assert error.reason in get_args(Reason)
        return None


@given(st.text() | st.binary() | st.none() | st.integers())
@settings(max_examples=200, deadline=None)
def test_garbage(given: object) -> None:
    assert never_more_than_a_reason(given) is None


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_headers_and_claims_of_any_kind(data: st.DataObject) -> None:
    """Rightly signed nonsense, which only a holder of the key could make, is refused all the same."""
    header, payload = dict(HEADER), dict(PAYLOAD)
    where = data.draw(st.sampled_from(["header", "payload"]))
    names = [*HEADER, "jwk", "crit"] if where == "header" else [*PAYLOAD, "nbf"]
    name = data.draw(st.sampled_from(names))
    value = data.draw(JSON)
    before = (HEADER if where == "header" else PAYLOAD).get(name)
    (header if where == "header" else payload)[name] = value
    found = never_more_than_a_reason(sign(header, payload))
    if found is not None:
        assert before == value or name in ("jti", "iat", "exp", "nbf"), (name, value)


@given(st.integers(0, len(GOOD) - 1), st.sampled_from("ABCxyz09-_.=+/ \n\0é"))
@settings(max_examples=300, deadline=None)
def test_no_character_can_be_changed(place: int, character: str) -> None:
    changed = GOOD[:place] + character + GOOD[place + 1 :]
    assert changed == GOOD or never_more_than_a_reason(changed) is None


@given(JSON)
@settings(max_examples=200, deadline=None)
def test_any_jwks_document(document: object) -> None:
    for value in (document, {"keys": document}, {"keys": [document]}):
        try:
            assert keys_of(value) == {}
        except TokenError as error:
            assert error.reason == "malformed"
