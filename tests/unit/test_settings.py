"""Loading, refusing, judging and printing settings."""

# ruff: noqa: E501 - the tables of cases read best one case a line

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from persistent_terminal_hub.config.file import nearest
from persistent_terminal_hub.config.schema import describe
from persistent_terminal_hub.settings import (
    Settings,
    SettingsError,
    TlsSettings,
    dump_settings,
    explain_settings,
    load_settings,
    problems_for_serving,
    warnings_of,
)

EXAMPLE = """\
server:  {host: 0.0.0.0, port: 443, tls: {certFile: /etc/ssl/certs/server.crt, keyFile: /etc/ssl/private/server.key}}
session: {ttlSeconds: 86400, idleLockMinutes: 30}
pty:     {cols: 80, rows: 24}
auth:    {provider: oauth2, clientId: <YOUR_CLIENT_ID>, clientSecret: <YOUR_CLIENT_SECRET>}
"""
SECRET = "hunter2-zq"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hub.yaml"


def refused(file: Path, text: str | bytes, environ: dict[str, str] | None = None) -> list[str]:
    """The problems of a file, with its directory cut off."""
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(SettingsError) as caught:
        load_settings(file, environ or {})
    assert SECRET not in str(caught.value)
    return [problem.replace(str(file), "hub.yaml") for problem in caught.value.problems]


def test_nothing_given_serves_on_loopback_with_local_accounts() -> None:
    settings = load_settings(environ={})
    assert settings == Settings()
    assert (settings.server.host, settings.server.port, settings.server.tls) == ("127.0.0.1", 8000, None)
    assert settings.auth.provider == "local"
    assert not settings.auth.allow_all
    assert warnings_of(settings) == problems_for_serving(settings) == []


def test_the_example_of_the_brief_is_accepted_and_judged(file: Path) -> None:
    file.write_text(EXAMPLE)
    settings = load_settings(file, {})
    assert settings.server.port == 443
    assert settings.server.tls == TlsSettings(
        cert_file=Path("/etc/ssl/certs/server.crt"), key_file=Path("/etc/ssl/private/server.key")
    )
    assert settings.auth.client_id == "<YOUR_CLIENT_ID>"
    problems = problems_for_serving(settings)
    for word in (
        "auth.clientId is still the placeholder",
        "auth.clientSecret is still",
        "auth.issuer is not set",
    ):
        assert any(word in problem for problem in problems)
    warned = warnings_of(settings)
    assert set(problems) <= set(warned)
    assert any("Nobody can log in" in warning for warning in warned)


def test_both_spellings_say_the_same(file: Path) -> None:
    file.write_text("session: {ttl_seconds: 90}\nserver: {tls: {cert_file: a, keyFile: b}}\ndata_dir: /d\n")
    settings = load_settings(file, {})
    assert settings.session.ttl_seconds == 90
    assert settings.server.tls == TlsSettings(cert_file=Path("a"), key_file=Path("b"))
    assert settings.data_dir == Path("/d")


@pytest.mark.parametrize("text", ["", "# nothing\n", "server:\nauth: ~\n", "---\n", "\ufeffserver: {}\n"])
def test_empty_files_and_empty_groups_are_the_defaults(file: Path, text: str) -> None:
    file.write_text(text)
    assert load_settings(file, {}) == Settings()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("server: {prt: 1}", "hub.yaml:1:10: server.prt is not a setting; did you mean server.port?"),
        ("servr: {port: 1}", "hub.yaml:1:1: servr is not a setting; did you mean server?"),
        ("\nport: 1", "hub.yaml:2:1: port is not a setting; did you mean server.port?"),
        ("server: {PORT: 1}", "hub.yaml:1:10: server.PORT is not a setting; did you mean server.port?"),
        ("pty: {qqq: 1}", "hub.yaml:1:7: pty.qqq is not a setting; the names here are cols, rows."),
        ("server: {port: '8000'}", "hub.yaml:1: server.port must be a whole number, not text."),
        ("server: {port: true}", "hub.yaml:1: server.port must be a whole number, not true or false."),
        ("server:\n  port: 70000", "hub.yaml:2: server.port must be at most 65535."),
        ("server: {port: 80.5}", "hub.yaml:1: server.port must be a whole number, not a number."),
        ("server: {port: [1]}", "hub.yaml:1: server.port must be a whole number, not a list."),
        ("server: {port: {a: 1}}", "hub.yaml:1:16: server.port must be a whole number, not a group of keys."),
        ("server: {port: }", "hub.yaml:1:15: server.port has no value; give it one or remove the key."),
        ("server: {host: ''}", "hub.yaml:1: server.host must not be empty."),
        ("server: 5", "hub.yaml:1:9: server must be a group of keys (host, port, baseUrl, publicUrl, subdomains, tls, hubPort,"
         " proxyApiPort), not a single value."),
        ("server: {tls: {certFile: a}}", "hub.yaml:1: server.tls.keyFile is missing; it belongs to its group."),
        ("auth: {allowAll: yes}", "hub.yaml:1: auth.allowAll must be true or false, not text."),
        ("auth: {clientId: 12}", "hub.yaml:1: auth.clientId must be text, not a number; put it in quotes."),
        ("auth: {allowedUsers: bob}", "hub.yaml:1: auth.allowedUsers must be a list of texts, not text."),
        ("auth: {allowedUsers: [bob, 7]}", "hub.yaml:1: auth.allowedUsers must hold texts only, not a number;"
         " put it in quotes."),
        ("auth: {provider: gogle}", "hub.yaml:1: auth.provider must be one of local, oauth2, google, github;"
         " did you mean google?"),
        ("workspace: {memory: 2GB}", "hub.yaml:1: workspace.memory must be a size such as 512M or 2G"
         " (a whole number, then K, M, G or T)."),
        ("workspace: {cpu: .inf}", "hub.yaml:1: workspace.cpu must be a number, not text."),
        ("docker: {subnetPool: 10.0.0.1/8}", "hub.yaml:1: docker.subnetPool must be an IPv4 network such as"
         " 10.213.0.0/16, its host bits all zero."),
        ("dataDir: ''", "hub.yaml:1: dataDir must be a path, not empty."),
        ('dataDir: "a\\0b"', "hub.yaml:1: dataDir must be plain text on one line, without control characters."),
        ('auth: {clientId: "\\ud800"}', "hub.yaml:1: auth.clientId must be plain text on one line,"
         " without control characters."),
        ("pty: {cols: 3}\npty: {cols: 4}", "hub.yaml:2:1: pty is given twice (first on line 1); keep one."),
        ("session:\n  ttlSeconds: 90\n  ttl_seconds: 90", "hub.yaml:3:3: session.ttlSeconds is given as"
         " ttlSeconds and as ttl_seconds, which are the same setting (first on line 2); keep one."),
        ("- a", "hub.yaml:1:1: the file must hold keys and values, as in 'server: {port: 8000}'."),
        ("a: 1\n---\nb: 2", "hub.yaml:2:1: the file must hold one YAML document; a second one begins here."),
        ("pty:\n\tcols: 5", "hub.yaml:2:1: no YAML value may begin with the character here (a tab, @, ` or %);"
         " indent with spaces and put such values in quotes."),
        ("pty: &p {cols: 5, cols: *p}", "hub.yaml:1:19: pty.cols is given twice (first on line 1); keep one."),
        ("pty: !!python/object:os.system {cols: 5}", "hub.yaml:1:6: pty must be a group of keys (cols, rows),"
         " not a group of keys."),
        ("- " * 3_000, "hub.yaml is nested far too deeply for a settings file."),
        ("[" * 1_500, "hub.yaml is nested far too deeply for a settings file."),
        (b"pty: {cols: 5}\n\xff", "hub.yaml:2: the text is not UTF-8; save the file in that encoding."),
        (b"\x7fELF\0\0", "hub.yaml is a binary file; settings are YAML text in UTF-8."),
        (b"#" * 10_000_000, "hub.yaml is larger than 64 KiB, so it is not a settings file."),
    ],
)  # fmt: skip
def test_bad_files_are_refused_in_one_sentence(file: Path, text: str | bytes, problem: str) -> None:
    assert refused(file, text) == [problem]


def test_all_problems_come_in_one_report(file: Path) -> None:
    text = "server: {prt: 1, port: x}\nauth: {provider: nobody, scopes: 5}\npty: {cols: 1, rows: 9999}\n"
    problems = refused(file, text, {"PTH_PTY__COL": "3", "PTH_WORKSPACE__PIDS": "many"})
    assert len(problems) == 8
    assert "PTH_PTY__COL is not a setting; did you mean PTH_PTY__COLS?" in problems
    assert "PTH_WORKSPACE__PIDS: workspace.pids must be a whole number, not text." in problems


def test_a_report_ends(file: Path) -> None:
    problems = refused(file, "".join(f"key{number}: 1\n" for number in range(150)))
    assert len(problems) == 101
    assert problems[-1] == "hub.yaml has 50 more problems; is it a settings file of this program?"


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def problem(path: Path) -> str:
        with pytest.raises(SettingsError) as caught:
            load_settings(path, {})
        return str(caught.value)

    assert problem(tmp_path / "no.yaml") == f"The settings file {tmp_path}/no.yaml does not exist."
    assert problem(tmp_path) == f"{tmp_path} is a directory; name the settings file in it."
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert problem(pipe) == f"{pipe} is not a regular file."
    assert "its name is not a valid path" in problem(Path("a\0b"))
    locked = tmp_path / "locked.yaml"
    locked.write_text("")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)  # root, who may run the tests, may read everything
    assert problem(locked) == f"The settings file {locked} cannot be read: Permission denied."


@pytest.mark.parametrize(
    "text",
    [
        f"auth: {{clientSecret: *{SECRET}}}",
        f"auth: {{clientSecret: !{SECRET} x}}",
        f"auth: {{clientSecret: '{SECRET}}}",
        f"auth: {{clientSecret: @{SECRET}}}",
        f'auth: {{clientSecret: "\\q{SECRET}"}}',
        f"auth: {{clientSecret: ab,{SECRET}}}",
        f"auth: {{clientSecret {SECRET}}}",
        f"auth: {{clientSecret: [{SECRET}, 1]}}",
        f"auth: {{clientSecret: {{{SECRET}: 1}}}}",
        f"auth:\n  clientSecret: {SECRET}: x",
        f"auth:\n  clientSecret: a\n  {SECRET}\n  b: c",
        f"auth: {{clientSecret: {SECRET}, clientSecret: {SECRET}}}",
        f"server: {{port: {SECRET}}}",
        f"docker: {{subnetPool: {SECRET}}}",
        f"auth: {{provider: {SECRET}}}",
        f'auth: {{clientSecret: "{SECRET}\\n"}}',
        f"%{SECRET} x",
        f"auth: &{SECRET} {{a: &{SECRET} 1}}",
    ],
)
def test_no_error_repeats_a_secret(file: Path, text: str) -> None:
    assert refused(file, text)  # which also looks for the secret


@given(
    st.text(alphabet="{}[]:,*&!@%'\"\\ \n\t#|>-?`", max_size=12), st.text(alphabet=" ,:\n'\"}]", max_size=5)
)
@hypothesis_settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_syntax_error_repeats_a_secret(tmp_path: Path, before: str, after: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(f"auth: {{clientSecret: {before}{SECRET}{after}")
    try:
        settings = load_settings(file, {})
    except SettingsError as error:
        assert SECRET not in str(error)
    else:
        assert SECRET not in repr(settings) + dump_settings(settings)


# ---- environment


def test_environment_overrides_the_file_and_origins_tell(file: Path) -> None:
    file.write_text("server: {port: 1000, host: h}\n")
    loaded = explain_settings(file, {"PTH_SERVER__PORT": " 2000 ", "PTH_SERVER__TLS__CERT_FILE": "c",
                                     "PTH_SERVER__TLS__KEY_FILE": "k"})  # fmt: skip
    assert loaded.settings.server.port == 2000
    assert loaded.settings.server.tls == TlsSettings(cert_file=Path("c"), key_file=Path("k"))
    assert loaded.origins["server", "port"] == "environment, PTH_SERVER__PORT"
    assert loaded.origins["server", "host"] == "file, line 1"
    assert ("server", "hubPort") not in loaded.origins


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("PTH_AUTH__ALLOWED_USERS", "a, b,,c ", frozenset("abc")),
        ("PTH_AUTH__ALLOWED_USERS", '["a,b", "c"]', frozenset({"a,b", "c"})),
        ("PTH_AUTH__ALLOWED_USERS", "", frozenset()),
        ("PTH_AUTH__SCOPES", "openid,groups", ("openid", "groups")),
        ("PTH_AUTH__ALLOW_ALL", "Yes", True),
        ("PTH_AUTH__SIGN_UP", "0", False),
        ("PTH_WORKSPACE__CPU", "1.5", 1.5),
        ("PTH_WORKSPACE__CPU", "3", 3.0),
        ("PTH_AUTH__CLIENT_ID", "12", "12"),
        ("PTH_LOG_LEVEL", "DEBUG", "DEBUG"),
        ("PTH_DATA_DIR", "/data", Path("/data")),
    ],
)
def test_values_of_variables(variable: str, text: str, value: object) -> None:
    settings = load_settings(environ={variable: text})
    leaf = next(leaf for leaf in describe(Settings).leaves() if leaf.env == variable)
    found: object = settings
    for name in leaf.path:
        found = getattr(found, name)
    assert found == value


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"PTH_SERVER__PRT": "1"}, "PTH_SERVER__PRT is not a setting; did you mean PTH_SERVER__PORT?"),
        ({"PTH_server__port": "1"}, "PTH_server__port is not a setting; did you mean PTH_SERVER__PORT?"),
        ({"PTH_SERVER__PORT": ""}, "PTH_SERVER__PORT: server.port must be a whole number, not empty."),
        ({"PTH_SERVER__PORT": "9" * 9999}, "PTH_SERVER__PORT: server.port must be a whole number, not text."),
        ({"PTH_AUTH__SCOPES": "[1"}, "PTH_AUTH__SCOPES: auth.scopes must be a list of texts, not text."),
        ({"PTH_DATA_DIR": ""}, "PTH_DATA_DIR: dataDir must be a path, not empty."),
        ({"PTH_AUTH__CLIENT_SECRET": SECRET + "\udc80"}, "PTH_AUTH__CLIENT_SECRET: auth.clientSecret must be"
         " plain text on one line, without control characters."),
        ({"PTH_SERVER__TLS": "on"}, "PTH_SERVER__TLS can only be 'none'; set PTH_SERVER__TLS__CERT_FILE and"
         " PTH_SERVER__TLS__KEY_FILE instead."),
        ({"PTH_AUTH__CLIENT_SECRET_FILE": f"/{SECRET}"}, "PTH_AUTH__CLIENT_SECRET_FILE: the file it names cannot"
         " be read: No such file or directory."),
        ({"PTH_AUTH__CLIENT_SECRET_FILE": "/", "PTH_AUTH__CLIENT_SECRET": SECRET},
         "PTH_AUTH__CLIENT_SECRET and PTH_AUTH__CLIENT_SECRET_FILE are both set; keep one."),
        ({"PTH_SERVER__TLS__CERT_FILE": "c"}, "PTH_SERVER__TLS__CERT_FILE: server.tls.keyFile is missing; it"
         " belongs to its group."),
    ],
)  # fmt: skip
def test_bad_variables_are_refused(environ: dict[str, str], problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ=environ)
    assert list(caught.value.problems) == [problem]


def test_variables_of_others_are_left_alone() -> None:
    environ = {
        "PTH_RUNTIME_DIR": "/run/pth",
        "PTH_SCROLLBACK_BYTES": "5",
        "HOME": "/",
        "X_PTH_A__B": "",
        "PTH_CONFIG": "",
    }
    assert load_settings(environ=environ) == Settings()


def test_a_group_can_be_taken_away(file: Path) -> None:
    file.write_text(EXAMPLE)
    assert load_settings(file, {"PTH_SERVER__TLS": "none"}).server.tls is None


def test_secret_from_a_file_and_config_from_a_variable(tmp_path: Path, file: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    file.write_text("auth: {provider: github, clientId: abc}")
    environ = {"PTH_CONFIG": str(file), "PTH_AUTH__CLIENT_SECRET_FILE": str(secret)}
    assert load_settings(environ=environ).auth.client_secret.get_secret_value() == SECRET
    secret.write_bytes(b"x" * 100_000)
    with pytest.raises(SettingsError, match="too large to be a secret"):
        load_settings(environ=environ)
    secret.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load_settings(environ=environ)


def test_the_workspace_needs_no_yaml_for_the_defaults(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ruamel.yaml", None)
    assert load_settings(environ={}) == Settings()
    assert "needs ruamel.yaml" in refused(file, "pty: {}")[0]


def test_nearest_ignores_case_and_gives_up_on_strangers() -> None:
    assert nearest("TTLSECONDS", ["ttlSeconds", "cols"]) == "ttlSeconds"
    assert nearest("qqqq", ["ttlSeconds", "cols"]) is None
