"""Looks at a certificate and its key before anything is started with them."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
    from cryptography.x509 import Certificate

#: A chain is some kilobytes.
MAX_PEM_BYTES = 1024 * 1024
#: How early an administrator is told that a certificate ends.
EXPIRY_NOTICE = timedelta(days=14)


@dataclass(frozen=True)
class TlsFindings:
    """What is wrong with a pair of files, and what will or may be."""

    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def inspect_tls(cert_file: Path, key_file: Path, now: datetime | None = None) -> TlsFindings:
    """Judges the two files at the time `now` (aware; default: the present)."""
    now = datetime.now(UTC) if now is None else now
    problems: list[str] = []
    warnings: list[str] = []
    certificates = _certificates(cert_file, problems)
    key = _key(key_file, problems, warnings)
    if certificates:
        _judge_dates(cert_file, certificates[0], now, problems, warnings)
        if key is not None:
            _judge_pair(cert_file, key_file, certificates, key, problems)
    return TlsFindings(tuple(problems), tuple(warnings))


def _read(path: Path, what: str, problems: list[str]) -> bytes | None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            problems.append(f"The TLS {what} file {path} is not a regular file.")
            return None
        with path.open("rb") as stream:
            data = stream.read(MAX_PEM_BYTES + 1)
    except OSError as error:
        problems.append(f"The TLS {what} file {path} cannot be read: {error.strerror}.")
        return None
    if len(data) > MAX_PEM_BYTES:
        problems.append(f"The TLS {what} file {path} is too large to be a PEM file.")
        return None
    return data


def _certificates(path: Path, problems: list[str]) -> list[Certificate]:
    from cryptography.x509 import load_pem_x509_certificates

    data = _read(path, "certificate", problems)
    if data is None:
        return []
    try:
        return load_pem_x509_certificates(data)
    except ValueError:
        hint = (
            " (it holds a private key; are certFile and keyFile swapped?)"
            if b"PRIVATE KEY-----" in data
            else ""
        )
        problems.append(f"The TLS certificate file {path} holds no readable PEM certificate{hint}.")
        return []


def _key(path: Path, problems: list[str], warnings: list[str]) -> PublicKeyTypes | None:
    """The public half of the private key in the file."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read(path, "key", problems)
    if data is None:
        return None
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        problems.append(
            f"The TLS key file {path} is protected by a password, which nobody is there to type; "
            "remove it with 'openssl pkey -in FILE -out FILE.new'."
        )
        return None
    except (ValueError, UnsupportedAlgorithm):
        # The library's own message may describe the content; the key's content is nobody's business.
        hint = (
            " (it holds a certificate; are certFile and keyFile swapped?)"
            if b"CERTIFICATE-----" in data
            else ""
        )
        problems.append(f"The TLS key file {path} holds no readable PEM private key{hint}.")
        return None
    if path.stat().st_mode & stat.S_IROTH:
        warnings.append(
            f"Everybody on this machine may read the TLS key file {path}; run 'chmod o-rwx' on it."
        )
    return key.public_key()


def _judge_dates(
    path: Path, certificate: Certificate, now: datetime, problems: list[str], warnings: list[str]
) -> None:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        problems.append(
            f"The TLS certificate {path} is not valid before {begin:%Y-%m-%d %H:%M} UTC; is the clock right?"
        )
    elif now > end:
        problems.append(f"The TLS certificate {path} expired on {end:%Y-%m-%d %H:%M} UTC; renew it.")
    elif now > end - EXPIRY_NOTICE:
        warnings.append(f"The TLS certificate {path} expires on {end:%Y-%m-%d %H:%M} UTC; renew it in time.")


def _judge_pair(
    cert_file: Path,
    key_file: Path,
    certificates: list[Certificate],
    key: PublicKeyTypes,
    problems: list[str],
) -> None:
    matching = [_spki(certificate.public_key()) == _spki(key) for certificate in certificates]
    if matching[0]:
        return
    if any(matching):
        problems.append(
            f"The TLS certificate file {cert_file} must begin with the server's own certificate; "
            f"it stands at place {matching.index(True) + 1}."
        )
    else:
        problems.append(
            f"The TLS key {key_file} does not belong to the certificate {cert_file}; they must be a pair."
        )


def _spki(key: PublicKeyTypes) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
