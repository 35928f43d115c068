"""Settings to JupyterHub's configuration, the choice of the backend, discovery, the data directory."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from traitlets.config import Config

from persistent_terminal_hub.hub import backend, preflight
from persistent_terminal_hub.hub.addresses import hub_host
from persistent_terminal_hub.hub.backend import choose, resolve
from persistent_terminal_hub.hub.configure import configure
from persistent_terminal_hub.hub.data_dir import DataDir, DataDirLocked, write_private
from persistent_terminal_hub.hub.oidc_discovery import DiscoveryError, discover, read_document
from persistent_terminal_hub.hub.preflight import nobody_allowed
from persistent_terminal_hub.hub.process_spawner import RUNTIME_DIR_LIMIT, runtime_dir, workspace_key
from persistent_terminal_hub.hub.serve import culler_spec, proxy_spec
from persistent_terminal_hub.settings import Settings
from persistent_terminal_hub.shared_files import share_dir


def settings(tmp_path: Path, **sections: dict[str, Any]) -> Settings:
    values: dict[str, Any] = {"workspace": {"backend": "process"}, **sections}
    return Settings.model_validate({"dataDir": str(tmp_path / "data"), **values})


def configured(made: Settings) -> Config:
    config = Config()
    configure(config, made)
    return config


# -- the configuration ------------------------------------------------------------------------------


def test_the_hub_may_die(tmp_path: Path) -> None:
    c = configured(settings(tmp_path))
    assert c.JupyterHub.cleanup_servers is False
    assert c.JupyterHub.cleanup_proxy is False
    assert c.ConfigurableHTTPProxy.should_start is False
    assert c.JupyterHub.redirect_to_server is False  # nothing starts merely because somebody logged in
    token = c.ConfigurableHTTPProxy.auth_token
    assert len(token) == 64
    assert configured(settings(tmp_path)).ConfigurableHTTPProxy.auth_token == token
    assert (tmp_path / "data/proxy_token").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_services_have_the_fewest_rights(tmp_path: Path) -> None:
    made = settings(tmp_path)
    c = configured(made)
    tokens = {service["name"]: service["api_token"] for service in c.JupyterHub.services}
    assert set(tokens) == {"supervisor", "culler", "terminals"} and len(set(tokens.values())) == 3
    assert (tmp_path / "data/culler_token").stat().st_mode & 0o777 == 0o600
    scopes = {role["name"]: set(role["scopes"]) for role in c.JupyterHub.load_roles}
    assert scopes["culler"] == {"delete:servers", "custom:persistent-terminals:cull"}
    assert scopes["culler"] - {"delete:servers"} <= set(c.JupyterHub.custom_scopes)
    assert scopes["supervisor"] == {"proxy"}
    data = DataDir(made.data_dir)
    spec = culler_spec(made, data, {"PTH_FIRST_PASSWORD_FD": "9", "HOME": "/x"}, "http://10.0.0.1:8081")
    assert spec.env["JUPYTERHUB_API_URL"] == "http://10.0.0.1:8081/hub/api"
    assert spec.env["HOME"] == "/x" and "PTH_FIRST_PASSWORD_FD" not in spec.env
    # Its environment says who it is; its arguments, which everybody on the machine can read, do not.
    assert tokens["culler"] == spec.env["JUPYTERHUB_API_TOKEN"] and tokens["culler"] not in " ".join(
        spec.argv
    )


def test_limits_addresses_and_what_a_workspace_is_told(tmp_path: Path) -> None:
    c = configured(
        settings(
            tmp_path,
            server={"host": "::1", "port": 9000, "baseUrl": "/a/b"},
            workspace={"backend": "process", "maxPerUser": 3, "maxRunning": 7},
            session={"scrollbackBytes": 70000},
        )
    )
    assert c.JupyterHub.bind_url == "http://[::1]:9000/a/b/"
    assert c.JupyterHub.hub_ip == "127.0.0.1"
    assert (c.JupyterHub.named_server_limit_per_user, c.JupyterHub.active_server_limit) == (3, 7)
    environment = c.Spawner.environment
    assert environment["PTH_SCROLLBACK_BYTES"] == "70000"
    assert (
        environment["PTH_WORKSPACE_NOTICE"]
        == backend.NOT_ISOLATED
        == c.JupyterHub.template_vars["pth_notice"]
    )
    assert all(isinstance(value, str) for value in environment.values())


def test_a_host_for_each_user(tmp_path: Path) -> None:
    made = settings(
        tmp_path,
        server={"publicUrl": "https://hub.example.org:8443/a", "baseUrl": "/a", "subdomains": True},
        workspace={"backend": "process"},
    )
    c = configured(made)
    assert c.JupyterHub.subdomain_host == "https://hub.example.org:8443"
    assert c.JupyterHub.subdomain_hook("ada", "hub.example.org", "user") == "ada.hub.example.org"
    assert c.JupyterHub.subdomain_hook("terminals", "hub.example.org", "service") == "hub.example.org"
    routing = proxy_spec(made, DataDir(made.data_dir), ["chp"], "http://127.0.0.1:8081", 9).argv
    plain = settings(tmp_path)
    assert "--host-routing" in routing
    assert "--host-routing" not in proxy_spec(plain, DataDir(made.data_dir), ["chp"], "http://h", 9).argv
    assert "subdomain_host" not in configured(settings(tmp_path, workspace={"backend": "process"})).JupyterHub


def test_the_hub_is_not_on_the_lan_with_containers() -> None:
    made = Settings.model_validate({"docker": {"subnetPool": "10.9.0.0/16", "subnetPrefix": 28}})
    assert hub_host(made, "docker") == "10.9.0.1"


def test_local_accounts(tmp_path: Path) -> None:
    c = configured(settings(tmp_path, auth={"adminUsers": ["ada"]}))
    assert c.Authenticator.admin_users == {"ada", "admin"}
    assert "allow_all" not in c.Authenticator
    assert c.LocalAuthenticator.open_sign_up is False
    assert c.LocalAuthenticator.minimum_password_length >= 10


def test_github_needs_no_discovery_and_allows_nobody_by_itself(tmp_path: Path) -> None:
    made = settings(tmp_path, auth={"provider": "github", "clientId": "i", "clientSecret": "s"})
    oauth = configured(made).OAuth2Authenticator
    assert oauth.authorize_url == "https://github.com/login/oauth/authorize"
    assert (oauth.username_claim, oauth.scope) == ("login", ["read:user"])
    assert (oauth.allow_all, oauth.allowed_users, oauth.enable_pkce) == (False, set(), True)
    assert oauth.manage_groups is False
    assert "Nobody is allowed" in nobody_allowed(made)


@pytest.mark.parametrize(
    "auth", [{"allowAll": True}, {"allowedUsers": ["a"]}, {"adminGroups": ["g"]}, {"provider": "local"}]
)
def test_somebody_is_allowed(tmp_path: Path, auth: dict[str, Any]) -> None:
    assert nobody_allowed(settings(tmp_path, auth={"provider": "oauth2", **auth})) == ""


def test_the_templates_are_found() -> None:
    assert (share_dir() / "templates" / "page.html").is_file()


# -- the backend ------------------------------------------------------------------------------------

CASES: list[tuple[Any, Any, bool, bool, str, bool]] = [
    # asked, remembered, engine answers, local workspaces exist -> backend, warning
    ("auto", None, True, False, "docker", False),
    ("auto", None, False, False, "process", False),
    ("auto", "docker", True, False, "docker", False),
    ("auto", "docker", False, False, "docker", True),  # never silently without isolation
    ("auto", "docker", False, True, "docker", True),
    ("auto", "process", True, False, "docker", False),
    ("auto", "process", True, True, "process", True),
    ("auto", "process", False, True, "process", False),
    ("docker", None, False, False, "docker", True),
    ("docker", "process", True, True, "docker", False),
    ("process", "docker", True, False, "process", False),
    ("process", None, False, False, "process", False),
]


@pytest.mark.parametrize(("asked", "remembered", "answers", "local", "expected", "warning"), CASES)
def test_the_choice(
    asked: Any, remembered: Any, answers: bool, local: bool, expected: str, warning: bool
) -> None:
    choice = choose(asked, remembered, answers, local)
    assert (choice.backend, choice.warning) == (expected, warning)
    assert choice.reason.endswith(".")


def test_the_choice_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = True
    monkeypatch.setattr(backend, "engine_answers", lambda docker: answers)
    data = DataDir(tmp_path)
    data.prepare()
    auto = Settings.model_validate({"workspace": {"backend": "auto"}})
    assert resolve(auto, data).backend == "docker"
    answers = False
    later = resolve(auto, data)
    assert (later.backend, later.warning) == ("docker", True)
    assert "does not fall back" in later.reason
    # Asking for processes once does not make the hub forget its containers.
    assert resolve(Settings.model_validate({"workspace": {"backend": "process"}}), data).backend == "process"
    assert resolve(auto, data).backend == "docker"


def test_an_engine_that_is_not_there_is_quickly_known() -> None:
    made = Settings.model_validate({"docker": {"host": "unix:///nowhere/docker.sock"}})
    assert backend.engine_answers(made.docker) is False


@pytest.mark.parametrize(
    ("kept", "warned"),
    [({"LiveRestoreEnabled": False}, True), ({"LiveRestoreEnabled": True}, False), ({}, False)],
)
def test_an_engine_whose_restart_would_end_sessions_is_told_about(
    monkeypatch: pytest.MonkeyPatch, kept: dict[str, bool], warned: bool
) -> None:
    engine = SimpleNamespace(info=lambda: kept, close=lambda: None)
    monkeypatch.setattr(backend, "docker_client", lambda docker: engine)
    assert ("/etc/docker/daemon.json" in backend.problem_with_live_restore(Settings().docker)) is warned


# -- the data directory -----------------------------------------------------------------------------


def test_the_lock_is_for_one_and_outlives_a_copy(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    data.prepare()
    fd = data.lock()
    with pytest.raises(DataDirLocked) as refused:
        data.lock()
    assert refused.value.pid == os.getpid()
    copy = os.dup(fd)
    os.close(fd)
    with pytest.raises(DataDirLocked):
        data.lock()
    os.close(copy)
    os.close(data.lock())


def test_private_files_are_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_private(path, "one")
    write_private(path, "two")
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_workspace_keys_differ_and_runtime_directories_are_short(tmp_path: Path) -> None:
    pairs = [("a", ""), ("a-b", ""), ("a", "b"), ("a", "default"), ("A", ""), ("ä/../..", "x"), ("", "a")]
    keys = [workspace_key(*pair) for pair in pairs]
    assert len(set(keys)) == len(keys)
    assert all("/" not in key and len(key) < 40 for key in keys)
    deep = tmp_path / ("x" * 90) / "run"
    for base in (Path("/d/run"), deep):
        assert len(str(runtime_dir(base, "abcdef012345", keys[0]))) <= RUNTIME_DIR_LIMIT


def test_no_room_and_double_ports(tmp_path: Path) -> None:
    assert preflight.problem_with_disk(tmp_path, 1) == ""
    assert "make room" in preflight.problem_with_disk(tmp_path, 2**60)
    same = preflight.Port("127.0.0.1", 1, "a", "x"), preflight.Port("127.0.0.1", 1, "b", "y")
    assert any("a and b are both 1" in text for text in preflight.problems_with_ports(same))


# -- discovery --------------------------------------------------------------------------------------

ISSUER = "https://id.example/realm"
DOCUMENT = {
    "issuer": ISSUER,
    "authorization_endpoint": ISSUER + "/auth",
    "token_endpoint": ISSUER + "/token",
    "userinfo_endpoint": ISSUER + "/me",
}


def test_a_good_document() -> None:
    assert read_document(ISSUER + "/", DOCUMENT).token_url == ISSUER + "/token"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"issuer": "https://evil.example"}, "calls its issuer"),
        ({"token_endpoint": None}, "names no token_endpoint"),
        ({"token_endpoint": "http://id.example/token"}, "does not begin with https"),
    ],
)
def test_bad_documents(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DiscoveryError, match=sentence):
        read_document(ISSUER, {**DOCUMENT, **change})


def test_an_issuer_in_the_clear_or_away(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(DiscoveryError, match="https"):
        discover("http://id.example", cache)
    away = "http://127.0.0.1:9"
    with pytest.raises(DiscoveryError, match="nothing is known from an earlier start"):
        discover(away, cache)
    document = {key: value.replace(ISSUER, away) for key, value in DOCUMENT.items()}
    cache.write_text(json.dumps(document))
    assert "what it said last time" in discover(away, cache).warning
    with pytest.raises(DiscoveryError):  # what another issuer said is of no use
        discover("http://127.0.0.1:8", cache)


def test_a_proxy_that_is_missing_is_told_how_to_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.delenv("PTH_NODE_DIR", raising=False)
    monkeypatch.setattr(preflight, "node_path", lambda: str(tmp_path))
    assert "Node is missing" in preflight.find_proxy()[1]
    for program in (tmp_path / "node", tmp_path / "elsewhere/node_modules/.bin/configurable-http-proxy"):
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh")
        program.chmod(0o755)
    command, problem = preflight.find_proxy()
    assert command == []
    assert f"run `make run`, which installs it, or `npm install --prefix {tmp_path}/lib/pth-node" in problem
    monkeypatch.setenv("PTH_NODE_DIR", str(tmp_path / "elsewhere"))
    command, problem = preflight.find_proxy()
    assert [Path(word).name for word in command] == ["node", "configurable-http-proxy"]
    assert problem == ""
