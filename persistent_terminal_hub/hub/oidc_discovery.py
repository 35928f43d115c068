"""Where an OpenID Connect issuer has its endpoints: asked at start, remembered for when it is away."""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from persistent_terminal_hub.hub.data_dir import write_private
from persistent_terminal_hub.hub.oidc_keys import usable_algorithms

log = logging.getLogger(__name__)

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_TIMEOUT_SECONDS = 10
_LIMIT_BYTES = 1024 * 1024


class DiscoveryError(Exception):
    """The issuer's endpoints are not known; the text says why and what to do."""


@dataclass(frozen=True)
class Endpoints:
    """What the authenticator needs of the discovery document."""

    issuer: str
    authorize_url: str
    token_url: str
    userdata_url: str
    #: Set when the cache had to do.
    warning: str = ""
    #: Where its keys are, and how it signs ID tokens; empty when it does not say. Logins need neither,
    #: proofs of a fresh login do.
    jwks_url: str = ""
    id_token_algorithms: tuple[str, ...] = ()


def well_known_url(issuer: str) -> str:
    """The address of the issuer's discovery document."""
    return issuer.rstrip("/") + "/.well-known/openid-configuration"


def read_document(issuer: str, document: Any) -> Endpoints:
    """The endpoints in a discovery document; refuses one of another issuer, or with unsafe addresses."""
    where = well_known_url(issuer)
    if not isinstance(document, dict):
        raise DiscoveryError(f"{where} is no discovery document: check auth.issuer.")
    said = str(document.get("issuer", ""))
    if said.rstrip("/") != issuer.rstrip("/"):
        raise DiscoveryError(f"{where} calls its issuer {said!r}: write auth.issuer exactly so.")
    urls: list[str] = []
    for key in ("authorization_endpoint", "token_endpoint", "userinfo_endpoint"):
        url = document.get(key)
        if not isinstance(url, str) or not url:
            raise DiscoveryError(
                f"{where} names no {key}, which this hub needs: ask whoever runs the provider."
            )
        _require_safe(url, f"the {key} in {where}")
        urls.append(url)
    endpoints = Endpoints(said, urls[0], urls[1], urls[2])
    keys = document.get("jwks_uri")
    if not isinstance(keys, str) or not keys:
        return endpoints
    _require_safe(keys, f"the jwks_uri in {where}")
    algorithms = usable_algorithms(document.get("id_token_signing_alg_values_supported"))
    return replace(endpoints, jwks_url=keys, id_token_algorithms=algorithms)


def _require_safe(url: str, what: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and parts.hostname in _LOOPBACK:
        return  # a provider on this machine, as in tests
    raise DiscoveryError(f"{url} ({what}) does not begin with https://: secrets would travel in the clear.")


def discover(issuer: str, cache: Path) -> Endpoints:
    """Ask the issuer; when it does not answer, use what it said last time, with a warning."""
    _require_safe(issuer, "auth.issuer")
    url = well_known_url(issuer)
    try:
        # The scheme was checked above.
        request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
            document = json.loads(response.read(_LIMIT_BYTES))
    except urllib.error.HTTPError as error:
        if error.code < 500:
            raise DiscoveryError(
                f"{url} answers {error.code}: check auth.issuer, which is the address before /.well-known."
            ) from None
        return _from_cache(issuer, cache, f"answers {error.code}")
    except ValueError:
        raise DiscoveryError(f"{url} is no JSON: check auth.issuer.") from None
    except OSError as error:
        return _from_cache(issuer, cache, f"does not answer ({getattr(error, 'reason', None) or error})")
    endpoints = read_document(issuer, document)
    try:
        write_private(cache, json.dumps(document))
    except OSError as error:
        log.warning("The discovery document could not be kept in %s: %s", cache, error)
    return endpoints


def _from_cache(issuer: str, cache: Path, why: str) -> Endpoints:
    url = well_known_url(issuer)
    try:
        endpoints = read_document(issuer, json.loads(cache.read_text()))
    except (OSError, ValueError, DiscoveryError):
        raise DiscoveryError(
            f"{url} {why}, and nothing is known from an earlier start: check auth.issuer and the network, "
            "then retry."
        ) from None
    return replace(
        endpoints,
        warning=f"{url} {why}: using what it said last time. Logins fail until the provider is back.",
    )
