"""Keys in Vault, against a fake: Vault is in no registry that tests may use. The fake speaks the two engines'
HTTP as Vault's documentation gives it, and nothing else of Vault."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from persistent_terminal_hub.sealing import Sealer, SealingError, UnknownKey, encode_key
from persistent_terminal_hub.sealing_keys import FileKeys
from persistent_terminal_hub.sealing_vault import KEPT_SECONDS, TransitWrapper, VaultKeys, VaultPlace

TOKEN = "s.fake-token"


class FakeVault(ThreadingHTTPServer):
    """`fields` is the KV secret `kv/pth`; transit wraps by turning the text round."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fields: dict[str, Any] = {"current": "k1", "k1": encode_key(bytes(32))}
        self.reads = 0
        self.sealed = False

    def place(self, mount: str, token: str = TOKEN) -> VaultPlace:
        return VaultPlace(f"http://127.0.0.1:{self.server_port}", token, mount, "pth")


class Handler(BaseHTTPRequestHandler):
    server: FakeVault

    def do_GET(self) -> None:
        self.server.reads += 1
        if self.path != "/v1/kv/data/pth":
            self.answer(404, {"errors": []})
        else:
            self.answer(200, {"data": {"data": self.server.fields, "metadata": {"version": 1}}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/transit/encrypt/pth":
            self.answer(200, {"data": {"ciphertext": "vault:v1:" + body["plaintext"][::-1]}})
        elif self.path == "/v1/transit/decrypt/pth":
            self.answer(200, {"data": {"plaintext": body["ciphertext"].removeprefix("vault:v1:")[::-1]}})
        else:
            self.answer(404, {"errors": []})

    def answer(self, status: int, body: dict[str, Any]) -> None:
        if self.server.sealed:
            status, body = 503, {"errors": ["Vault is sealed"]}
        elif self.headers.get("X-Vault-Token") != TOKEN:
            status, body = 403, {"errors": ["permission denied"]}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def vault() -> Iterator[FakeVault]:
    server = FakeVault()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_keys_of_the_kv_engine(vault: FakeVault) -> None:
    now = [0.0]
    keys = VaultKeys(vault.place("kv"), lambda: now[0])
    sealer = Sealer(keys)
    old = sealer.seal(b"x", owner="a", purpose="b")
    for _ in range(10):
        sealer.open(old, owner="a", purpose="b")
    assert vault.reads == 1
    vault.fields |= {"current": "k2", "k2": encode_key(bytes(range(32)))}
    assert sealer.is_current(old)
    now[0] += KEPT_SECONDS
    assert not sealer.is_current(old)
    assert sealer.open(sealer.reseal(old, owner="a", purpose="b"), owner="a", purpose="b") == b"x"
    with pytest.raises(UnknownKey):
        keys.key("k9")


def test_known_keys_serve_while_vault_is_sealed(vault: FakeVault) -> None:
    now = [0.0]
    sealer = Sealer(VaultKeys(vault.place("kv"), lambda: now[0]))
    envelope = sealer.seal(b"x", owner="a", purpose="b")
    vault.sealed = True
    now[0] += KEPT_SECONDS
    assert sealer.open(envelope, owner="a", purpose="b") == b"x"
    assert sealer.is_current(envelope)
    with pytest.raises(SealingError, match=r"InternalServerError|VaultDown"):
        VaultKeys(vault.place("kv")).current()


def test_refused_token_is_a_sentence_without_the_token(vault: FakeVault) -> None:
    with pytest.raises(SealingError, match=r"refused kv/pth \(Forbidden\)") as caught:
        VaultKeys(vault.place("kv", token="s.wrong-token")).current()
    assert "s.wrong" not in str(caught.value)


@pytest.mark.parametrize("fields", [{}, {"current": "k3"}, {"current": 1, "k1": "x"}, {"k1": "zz"}])
def test_unusable_secret(vault: FakeVault, fields: dict[str, Any]) -> None:
    vault.fields = fields
    with pytest.raises(SealingError):
        VaultKeys(vault.place("kv")).current()


def test_nobody_there() -> None:
    with pytest.raises(SealingError, match="does not answer"):
        VaultKeys(VaultPlace("http://127.0.0.1:9", TOKEN, "kv", "pth")).current()


def test_keys_wrapped_by_transit(vault: FakeVault, tmp_path: Path) -> None:
    path = tmp_path / "sealing.json"
    keys = FileKeys(path, TransitWrapper(vault.place("transit")))
    envelope = Sealer(keys).seal(b"x", owner="a", purpose="b")
    text = path.read_text()
    assert "vault:v1:" in text
    assert base64.b64encode(keys.current()[1]).decode() not in text
    again = Sealer(FileKeys(path, TransitWrapper(vault.place("transit"))))
    assert again.open(envelope, owner="a", purpose="b") == b"x"
    vault.sealed = True
    with pytest.raises(SealingError):
        Sealer(FileKeys(path, TransitWrapper(vault.place("transit")))).open(envelope, owner="a", purpose="b")
