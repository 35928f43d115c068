"""Certificates and keys are judged against a given clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from persistent_terminal_hub.config.tls import TlsFindings, inspect_tls
from persistent_terminal_hub.settings import (
    ServerSettings,
    Settings,
    TlsSettings,
    problems_for_serving,
    warnings_of,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def make(key: ec.EllipticCurvePrivateKey, begin: datetime, end: datetime) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub.example.org")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), begin, end)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def pem(key: ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
GOOD = make(KEY, NOW - DAY, NOW + 90 * DAY)
OTHERS = make(OTHER, NOW - DAY, NOW + 90 * DAY)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(GOOD)
    key.write_bytes(pem(KEY))
    key.chmod(0o600)
    return cert, key


def judged(pair: tuple[Path, Path], now: datetime = NOW) -> TlsFindings:
    return inspect_tls(*pair, now)


def test_a_good_pair_passes(pair: tuple[Path, Path]) -> None:
    assert judged(pair) == TlsFindings()
    pair[0].write_bytes(GOOD + OTHERS)  # with a chain
    assert judged(pair) == TlsFindings()


@pytest.mark.parametrize(
    ("now", "problem", "warning"),
    [
        (NOW - 2 * DAY, "is not valid before 2026-05-31 00:00 UTC", ""),
        (NOW - DAY, "", ""),
        (NOW + 76 * DAY, "", ""),
        (NOW + 77 * DAY, "", "expires on 2026-08-30 00:00 UTC"),
        (NOW + 90 * DAY, "", "expires on"),
        (NOW + 91 * DAY, "expired on 2026-08-30 00:00 UTC", ""),
    ],
)
def test_dates(pair: tuple[Path, Path], now: datetime, problem: str, warning: str) -> None:

    findings = judged(pair, now)
    assert bool(findings.problems) == bool(problem)
    assert bool(findings.warnings) == bool(warning)
    assert problem in "".join(findings.problems)
    assert warning in "".join(findings.warnings)


@pytest.mark.parametrize(
    ("cert", "key", "part"),
    [
        (OTHERS, pem(KEY), "does not belong to the certificate"),
        (OTHERS + GOOD, pem(KEY), "must begin with the server's own certificate; it stands at place 2."),
        (b"junk", pem(KEY), "holds no readable PEM certificate."),
        (b"", pem(KEY), "holds no readable PEM certificate."),
        (pem(KEY), pem(KEY), "it holds a private key; are certFile and keyFile swapped?"),
        (GOOD, GOOD, "it holds a certificate; are certFile and keyFile swapped?"),
        (GOOD, b"\xff\0", "holds no readable PEM private key."),
        (GOOD, pem(KEY)[:80] + b"\n-----END PRIVATE KEY-----\n", "holds no readable PEM private key."),
        (GOOD, pem(KEY, b"pw"), "is protected by a password"),
        (b"x" * 2_000_000, pem(KEY), "is too large"),
    ],
)
def test_wrong_files(pair: tuple[Path, Path], cert: bytes, key: bytes, part: str) -> None:
    pair[0].write_bytes(cert)
    pair[1].write_bytes(key)
    (problem,) = judged(pair).problems
    assert part in problem
    for line in pem(KEY).decode().splitlines()[1:-1]:
        assert line not in problem


def test_unreadable_files_and_open_keys(pair: tuple[Path, Path], tmp_path: Path) -> None:
    assert "No such file" in inspect_tls(tmp_path / "no", pair[1], NOW).problems[0]
    assert "is not a regular file" in inspect_tls(pair[0], tmp_path, NOW).problems[0]
    pair[1].chmod(0o644)
    assert "Everybody on this machine may read the TLS key" in judged(pair).warnings[0]


def test_settings_judge_their_files_with_the_clock_given(pair: tuple[Path, Path]) -> None:
    server = ServerSettings(tls=TlsSettings(cert_file=pair[0], key_file=pair[1]))
    assert problems_for_serving(Settings(server=server), now=NOW) == []
    assert "expired" in problems_for_serving(Settings(server=server), now=NOW + 99 * DAY)[0]
    assert "expires" in warnings_of(Settings(server=server), now=NOW + 80 * DAY)[0]
