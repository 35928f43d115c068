"""`serve` for real: what it refuses before anything starts, TLS, one hub per data directory, a clean end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.integration.hub_fixtures import ROOT, Browser, Serve, page_text, wait_for


def refused(serve: Serve, *arguments: str) -> str:
    """Start one that must end by itself; its output."""
    serve.start(*arguments)
    assert serve.process is not None
    assert serve.process.wait(30) == 1
    assert "Traceback" not in serve.log
    assert "[hub]" not in serve.log and "[proxy]" not in serve.log
    return serve.log


@pytest.fixture(scope="module")
def tls_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    folder = tmp_path_factory.mktemp("tls")
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    files = "-keyout key.pem -out cert.pem -subj /CN=localhost"
    subprocess.run(
        [*make.split(), *files.split(), "-addext", "subjectAltName=IP:127.0.0.1"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    (folder / "key.pem").chmod(0o600)
    files = f"certFile: {folder}/cert.pem, keyFile: {folder}/key.pem"
    serve = Serve(
        folder / "data", f"server: {{tls: {{{files}}}}}\nworkspace: {{backend: process}}\n", scheme="https"
    )
    serve.start().wait_ready()
    yield serve
    serve.stop()


def test_tls_and_secrets(tls_hub: Serve) -> None:
    certificate = str(tls_hub.data.parent / "cert.pem")
    answer = requests.get(tls_hub.url + "hub/login", verify=certificate, timeout=10)
    assert answer.ok
    cookies = answer.headers["Set-Cookie"]
    assert "Secure" in cookies
    # The proxy's token is nowhere that another user of this machine could see it.
    token = (tls_hub.data / "proxy_token").read_text().strip()
    assert (tls_hub.data / "proxy_token").stat().st_mode & 0o077 == 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert token.encode() not in path.read_bytes()
        except OSError:
            continue
    assert token not in tls_hub.log
    assert f"is ready:  {tls_hub.url}" in tls_hub.log


def test_one_data_directory_has_one_hub(tls_hub: Serve, tmp_path: Path) -> None:
    second = Serve(tls_hub.data, "workspace: {backend: process}\n")
    second.log_path = tmp_path / "second.log"
    second.config = tmp_path / "second.yaml"
    assert tls_hub.process is not None
    log = refused(second)
    assert f"already being served by process {tls_hub.process.pid}: stop that one first" in log
    # Nor does a hub that is started without `serve` get in.
    env = {
        **os.environ,
        "PTH_DATA_DIR": str(tls_hub.data),
        "PTH_WORKSPACE__BACKEND": "process",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "persistent_terminal_hub.hub.run_jupyterhub"),
            *("-f", str(ROOT / "jupyterhub_config.py")),
        ],
        env=env, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert "already being served" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use(tmp_path: Path) -> None:
    serve = Serve(tmp_path / "data", "workspace: {backend: process}\n")
    with (
        socket.create_server(("127.0.0.1", serve.ports[0])),
        socket.create_server(("127.0.0.1", serve.ports[2])),
    ):
        log = refused(serve)
    assert f"Another program listens on 127.0.0.1:{serve.ports[0]} (the public address) already" in log
    assert "server.port" in log
    assert "server.proxyApiPort" in log
    assert "server.hubPort" not in log


def test_a_data_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    serve = Serve(tmp_path / "ok", "workspace: {backend: process}\n")
    serve.environment["PTH_DATA_DIR"] = str(tmp_path / "file" / "data")
    assert "cannot be written (Not a directory)" in refused(serve)


def test_settings_that_cannot_be_served(tmp_path: Path) -> None:
    settings = (
        "auth: {provider: oauth2, issuer: https://id.example, clientId: <YOUR_CLIENT_ID>, clientSecret: x}\n"
    )
    log = refused(Serve(tmp_path / "data", settings))
    assert "auth.clientId" in log


def test_a_new_password_for_a_locked_out_administrator(tls_hub: Serve) -> None:
    old = tls_hub.password
    assert tls_hub.stop() == 0
    assert tls_hub.log.rstrip().endswith("the next `serve` finds them again.")
    # Nothing of it is left.
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", tls_hub.ports[0]))
    tls_hub.start("--new-admin-password").wait_ready()
    assert tls_hub.log.count("password:") == 2
    assert tls_hub.password != old
    browser = Browser(tls_hub)
    browser.verify = str(tls_hub.data.parent / "cert.pem")
    assert "Logout" in page_text(browser.log_in("admin", tls_hub.password))
    # A hub that crashes does not set yet another one.
    old_hub = tls_hub.child_pid("jupyterhub_config")
    os.kill(old_hub, 9)
    assert wait_for(lambda: "hub is back" in tls_hub.log, 30)
    assert tls_hub.log.count("password:") == 2
