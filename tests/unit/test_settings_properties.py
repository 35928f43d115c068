"""Any valid model survives the way through YAML; no junk raises anything but SettingsError."""
# ruff: noqa: E501 - the tables of cases read best one case a line

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from persistent_terminal_hub.config.presets import PRESETS
from persistent_terminal_hub.config.schema import describe
from persistent_terminal_hub.settings import (
    AuthSettings,
    CullerSettings,
    DockerSettings,
    PtySettings,
    RuleSettings,
    ServerSettings,
    SessionSettings,
    Settings,
    SettingsError,
    TlsSettings,
    WorkspaceSettings,
    dump_settings,
    load_settings,
    warnings_of,
)

TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=12)
PATHS = TEXT.map(Path).filter(lambda path: path != Path())
PORTS = st.integers(1, 65535)


def sections() -> st.SearchStrategy[Settings]:
    """Any valid model."""
    return st.builds(
        Settings,
        server=st.builds(
            ServerSettings, host=TEXT.filter(bool), port=PORTS, base_url=TEXT,
            tls=st.none() | st.tuples(PATHS, PATHS).map(lambda two: TlsSettings(cert_file=two[0], key_file=two[1])),
        ),
        session=st.builds(SessionSettings, ttl_seconds=st.integers(60, 10**6)),
        pty=st.builds(PtySettings, cols=st.integers(2, 1000)),
        auth=st.builds(
            AuthSettings, provider=st.sampled_from(["local", *PRESETS]), client_id=TEXT,
            client_secret=TEXT.map(SecretStr), issuer=TEXT, scopes=st.lists(TEXT, max_size=3).map(tuple),
            allowed_users=st.frozensets(TEXT, max_size=3), allow_all=st.booleans(),
        ),
        workspace=st.builds(
            WorkspaceSettings, image=TEXT.filter(bool), cpu=st.floats(0, 1024, exclude_min=True),
            memory=st.from_regex(r"[1-9][0-9]{0,11}[KMGT]", fullmatch=True),
        ),
        docker=st.builds(DockerSettings, host=TEXT, subnet_pool=st.sampled_from(["10.0.0.0/8", "1.2.3.4/32"])),
        culler=st.builds(CullerSettings, idle_stop_minutes=st.floats(0, 9999)),
        rules=st.lists(
            st.builds(
                RuleSettings, groups=st.frozensets(TEXT, max_size=2), workspaces=st.frozensets(TEXT, max_size=2),
                idle_lock_minutes=st.none() | st.floats(0, 9999), ttl_seconds=st.none() | st.integers(60, 99),
            ),
            max_size=2,
        ).map(tuple),
        data_dir=PATHS,
        log_level=st.sampled_from(["DEBUG", "ERROR"]),
    )  # fmt: skip


@given(sections())
@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_model_dumps_and_loads_back_equal(tmp_path: Path, settings: Settings) -> None:
    file = tmp_path / "dump.yaml"
    file.write_text(dump_settings(settings, reveal_secrets=True), encoding="utf-8")
    assert load_settings(file, {}) == settings
    warnings_of(settings)  # judges anything without raising


KEYS = [key for member in describe(Settings).walk() for key in (member.keys[-1], member.path[-1])]
KEYS += [child.keys[-1] for table in describe(Settings).tables() for child in table.entry.children]
JUNK = st.recursive(
    st.sampled_from(["", "~", "1", "0x", "1e999", "9" * 5000, "0x" + "f" * 6000, "1:30", "-", "!!int x", "!!binary a", "*a",
                     "&a b", "2024-01-01", "yes", "'", "\"\\ud800\"", "<<", "? x", "|", "\x85"]) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]")
    | st.lists(st.tuples(st.sampled_from(KEYS) | st.text(max_size=4), inner), max_size=4).map(
        lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
    ),
    max_leaves=8,
)  # fmt: skip


@given(JUNK.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=60))
@example(b"server: {port: 0x" + b"f" * 6000 + b"}")
@example(b"%YAML 9.9\n--- {}")
@example(b"server: {<<: {port: 1}}")
@example(b"a: &a [*a, *a]\n? [x]\n: 1\n")
@hypothesis_settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_junk_never_raises_anything_but_settings_error(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "junk.yaml"
    file.write_bytes(data)
    try:
        load_settings(file, {})
    except SettingsError as error:
        assert error.problems
        assert all(problem.endswith((".", "?")) for problem in error.problems)


@given(
    st.dictionaries(
        st.sampled_from([leaf.env for leaf in describe(Settings).leaves()] + ["PTH_RULES"]),
        st.text(max_size=9)
        | st.sampled_from(['[{"users": 1}]', '[{"": {}}]', '[{"groups": ["\ud800"]}]', "[[]]"]),
        max_size=4,
    )
)
@hypothesis_settings(max_examples=100, deadline=None)
def test_junk_variables_never_raise_anything_but_settings_error(environ: dict[str, str]) -> None:
    try:
        load_settings(environ=environ)
    except SettingsError as error:
        assert error.problems
