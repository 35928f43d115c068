"""An OpenID Connect provider on loopback that can be told to lie. It asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

Claims = dict[str, Any]


def rsa_key() -> rsa.RSAPrivateKey:
    """A key pair; small, because only the tests trust it."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class FakeProvider:
    """Honest unless `twist` changes the claims, `sign` the signature, `userinfo` the person."""

    def __init__(self, client_id: str, client_secret: str, name: str = "named") -> None:
        self.client_id, self.client_secret, self.name = client_id, client_secret, name
        self.key = rsa_key()
        self.kid = "first"
        self._codes: dict[str, dict[str, str]] = {}
        #: Query of the last authorization request.
        self.asked: dict[str, str] = {}
        self.token_requests: list[dict[str, str]] = []
        self.issued: list[str] = []
        self.jwks_requests = 0
        self.be_honest()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                provider.get(self)

            def do_POST(self) -> None:
                provider.post(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def be_honest(self) -> None:
        """Forget every lie."""
        self.twist: Callable[[Claims], Claims | None] = lambda claims: claims
        self.sign: Callable[[Claims], str | None] = self.honest_signature
        self.userinfo: Claims = {"sub": "sub-of-named", "preferred_username": self.name}
        self.authorize_error = ""
        self.token_status = 200

    def stop(self) -> None:
        """Answer nobody any more."""
        self.server.shutdown()
        self.server.server_close()

    def honest_signature(self, claims: Claims) -> str:
        """RS256 by the published key."""
        return jwt.encode(claims, self.key, "RS256", headers={"kid": self.kid})

    # -- endpoints ------------------------------------------------------------------------------------

    def get(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        if parts.path == "/.well-known/openid-configuration":
            answer(
                request,
                {
                    "issuer": self.issuer,
                    **{f"{name}_endpoint": f"{self.issuer}/{name}" for name in ("token", "userinfo")},
                    "authorization_endpoint": f"{self.issuer}/authorize",
                    "jwks_uri": f"{self.issuer}/jwks",
                    "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
                },
            )
        elif parts.path == "/jwks":
            self.jwks_requests += 1
            key = json.loads(RSAAlgorithm.to_jwk(self.key.public_key()))
            answer(request, {"keys": [{**key, "kid": self.kid, "use": "sig", "alg": "RS256"}]})
        elif parts.path == "/userinfo":
            answer(request, self.userinfo)
        else:
            self._authorize(request, {key: value[0] for key, value in parse_qs(parts.query).items()})

    def _authorize(self, request: BaseHTTPRequestHandler, asked: dict[str, str]) -> None:
        self.asked = asked
        back = {"state": asked["state"]}
        if self.authorize_error:
            back["error"] = self.authorize_error
        else:
            back["code"] = secrets.token_urlsafe(16)
            self._codes[back["code"]] = asked
        request.send_response(302)
        request.send_header("Location", f"{asked['redirect_uri']}?{urlencode(back)}")
        request.end_headers()

    def post(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"])).decode()
        form = {key: value[0] for key, value in parse_qs(body).items()}
        self.token_requests.append(form)
        asked = self._codes.pop(form.get("code", ""), None)
        if self.token_status != 200 or asked is None:
            answer(request, {"error": "invalid_grant"}, self.token_status if asked else 400)
            return
        if challenge := asked.get("code_challenge"):
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == challenge
        now = int(time.time())
        claims: Claims = {
            "iss": self.issuer,
            "aud": self.client_id,
            "sub": "sub-of-named",
            "iat": now,
            "exp": now + 300,
            **({"auth_time": now} if "max_age" in asked else {}),
            **({"nonce": asked["nonce"]} if "nonce" in asked else {}),
        }
        twisted = self.twist(claims)
        token = None if twisted is None else self.sign(twisted)
        if token is not None:
            self.issued.append(token)
        answer(
            request,
            {"access_token": "at", "token_type": "Bearer", **({"id_token": token} if token else {})},
        )


def answer(request: BaseHTTPRequestHandler, value: object, status: int = 200) -> None:
    """JSON."""
    body = json.dumps(value).encode()
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
