"""What the presets bring, what is warned of and what serving refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from persistent_terminal_hub.config.checks import is_loopback, is_placeholder
from persistent_terminal_hub.config.presets import PRESETS
from persistent_terminal_hub.settings import (
    AuthSettings,
    DockerSettings,
    ServerSettings,
    Settings,
    TlsSettings,
    WorkspaceSettings,
    problems_for_serving,
    warnings_of,
)


def test_presets_bring_their_own_defaults() -> None:
    assert AuthSettings(provider="google").issuer == "https://accounts.google.com"
    assert AuthSettings(provider="google").username_claim == "email"
    github = AuthSettings(provider="github")
    assert (github.issuer, github.username_claim, github.scopes) == ("", "login", ("read:user",))
    assert AuthSettings(provider="google", username_claim="sub").username_claim == "sub"
    assert AuthSettings(provider="oauth2").groups_claim == "groups"
    assert not PRESETS["github"].oidc
    assert PRESETS["github"].token_url


def oauth2(**changes: object) -> Settings:
    values = {"provider": "oauth2", "client_id": "abc", "client_secret": "s3", "issuer": "https://id.example.org",
              "allowed_users": ["a"], **changes}  # fmt: skip
    return Settings(auth=AuthSettings.model_validate(values))


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        (
            oauth2(client_id=""),
            "auth.clientId is not set; to get one from the OpenID Connect provider, register",
        ),
        (oauth2(provider="google", client_id="<ID>"), "console.cloud.google.com"),
        (oauth2(provider="github", issuer="", client_secret="CHANGE_ME"), "github.com/settings/developers"),
        (oauth2(client_secret="********"), "auth.clientSecret is still the placeholder"),
        (oauth2(issuer=""), "auth.issuer is not set"),
        (oauth2(issuer="http://id.example.org"), "auth.issuer must begin with https://"),
        (oauth2(issuer="id.example.org"), "auth.issuer must be a URL"),
        (oauth2(issuer="https://[::1"), "auth.issuer is not a valid URL"),
        (oauth2(issuer="https://u:p@h/"), "auth.issuer must be a plain URL"),
        (oauth2(issuer="<ISSUER>"), "auth.issuer is still the placeholder"),
        (Settings(server=ServerSettings(port=8081)), "server.port and server.hubPort are both 8081"),
        (Settings(server=ServerSettings(proxy_api_port=8000)), "server.port and server.proxyApiPort"),
        (Settings(server=ServerSettings(proxy_api_port=8081)), "server.hubPort and server.proxyApiPort"),
        (Settings(server=ServerSettings(subdomains=True)), "server.subdomains needs server.publicUrl"),
        (
            Settings(server=ServerSettings(subdomains=True, public_url="https://10.0.0.5")),
            "server.subdomains needs a host name",
        ),
        (Settings(docker=DockerSettings(subnet_pool="8.8.0.0/16")), "is not a private range"),
        (Settings(docker=DockerSettings(subnet_pool="169.254.0.0/16")), "is not a private range"),
        (Settings(docker=DockerSettings(subnet_pool="10.0.0.0/29")), "is too small for networks of /29"),
        (Settings(docker=DockerSettings(subnet_pool="10.0.0.0/24", subnet_prefix=16)), "is too small"),
        (
            Settings(server=ServerSettings(tls=TlsSettings(cert_file=Path("/no/c"), key_file=Path("/no/k")))),
            "The TLS certificate file /no/c cannot be read: No such file or directory.",
        ),
    ],
)
def test_what_serving_refuses(settings: Settings, part: str) -> None:
    assert any(part in problem for problem in problems_for_serving(settings)), problems_for_serving(settings)
    assert set(problems_for_serving(settings)) <= set(warnings_of(settings))


@pytest.mark.parametrize(
    "settings",
    [
        oauth2(),
        oauth2(issuer="http://127.0.0.1:9000"),
        oauth2(issuer="http://[::1]:9000/x"),
        oauth2(provider="github", issuer=""),
        Settings(docker=DockerSettings(subnet_pool="100.64.0.0/28")),
        Settings(
            docker=DockerSettings(subnet_pool="8.8.0.0/16"), workspace=WorkspaceSettings(backend="process")
        ),
    ],
)
def test_what_serving_accepts(settings: Settings) -> None:
    assert problems_for_serving(settings) == []


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        (oauth2(allowed_users=[]), "Nobody can log in"),
        (oauth2(allow_all=True), "everybody who has an account at the OpenID Connect provider"),
        (oauth2(provider="github", issuer="https://x"), "auth.issuer does nothing"),
        (oauth2(provider="google", groups_claim="", admin_groups=["g"]), "Google lists no groups"),
        (Settings(server=ServerSettings(host="0.0.0.0")), "TLS is off"),
        (Settings(workspace=WorkspaceSettings(backend="process")), "not isolated"),
        (
            Settings(
                docker=DockerSettings(subnet_pool="10.0.0.0/28"), workspace=WorkspaceSettings(max_running=2)
            ),
            "has room for 1 workspaces",
        ),
    ],
)
def test_what_is_warned_of(settings: Settings, part: str) -> None:
    assert any(part in warning for warning in warnings_of(settings)), warnings_of(settings)
    assert problems_for_serving(settings) == []


def test_placeholders_and_loopback() -> None:
    for text in (
        "<YOUR_CLIENT_ID>",
        "your-client-id",
        "changeme",
        "${SECRET}",
        "xxxx",
        "...",
        "TODO",
        "********",
    ):
        assert is_placeholder(text)
    for text in ("0oa1b2c3", "my-client", "xylophone", "a<b>c", "youre"):
        assert not is_placeholder(text)
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "localhost.example.org", "")))
