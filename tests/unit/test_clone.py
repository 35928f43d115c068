# ruff: noqa: E501 - tables of cases
"""Which URLs git gets to see, what it is asked, and what is left when it fails."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.server import clone_setup
from persistent_terminal_hub.server.clone import (
    PREFIX,
    Wish,
    clean,
    clone,
    command_line,
    explain,
    git_environment,
    progress_of,
)
from persistent_terminal_hub.server.clone_url import (
    SCHEMES,
    BadUrl,
    check_branch,
    check_folder,
    judge,
)
from persistent_terminal_hub.server.errors import SessionError


@pytest.mark.parametrize(
    ("given_", "url", "name"),
    [
        ("https://example.org/a/b.git", "https://example.org/a/b.git", "b"),
        ("https://example.org:8443/a/b/", "https://example.org:8443/a/b/", "b"),
        ("HTTPS://Example.ORG/A/B", "https://example.org/A/B", "B"),
        ("https://[2001:db8::1]/r", "https://[2001:db8::1]/r", "r"),
        ("https://[2001:db8::1]:8443/r", "https://[2001:db8::1]:8443/r", "r"),
        ("ssh://git@example.org/a/b.git", "ssh://git@example.org/a/b.git", "b"),
        ("git@example.org:a/b.git", "ssh://git@example.org/a/b.git", "b"),
        ("git://example.org/~u/r", "git://example.org/~u/r", "r"),
        ("https://example.org/a/.git", "https://example.org/a/.git", "repository"),
    ],
)
def test_what_may_be_cloned(given_: str, url: str, name: str) -> None:
    repository = judge(given_)
    assert (repository.url, repository.name) == (url, name)


@pytest.mark.parametrize(
    "url",
    [
        "", "-u./x", "--upload-pack=id", "ext::sh -c id", "ext::sh%20-c%20id", "fd::17", "file:///etc", "file:/etc",
        "/etc", "../x", "x", "C:/x", "host:path", "http://example.org/r", "ftp://example.org/r", "https://",
        "https://example.org", "https://example.org/", "https:///r", "https://user@example.org/r",
        "https://user:pw@example.org/r", "ssh://u:pw@example.org/r", "ssh://-oProxyCommand=id/r",
        "ssh://-x@example.org/r", "git@-oProxyCommand=id:r", "git@example.org:-x", "git@example.org::r",
        "https://example.org/a\nb", "https://example.org/a b", "https://example.org/%0a", "https://example.org/%7f",
        "https://example.org/%zz", "https://example.org/a/../../b", "https://example.org/%2e%2e/b",
        "https://example.org/a%2f..%2fb", "https://example.org:0/r", "https://example.org:99999/r",
        "https://example.org:/r", "https://ex_ample.org/r", "https://exämple.org/r", "https://example.org\\@evil/r",
        "https://example.org/r?x=1", "https://example.org/r#x", "ext::https://example.org/r",
        "https::https://example.org/r", "https://a@b@example.org/r", "https://" + "a" * 3000 + "/r", "\x00", "\u202e",
    ],
)  # fmt: skip
def test_what_may_not(url: str) -> None:
    with pytest.raises(BadUrl) as caught:
        judge(url)
    assert str(caught.value).endswith(".") and "pw" not in str(caught.value)


@given(
    st.one_of(
        st.text(max_size=60), st.from_regex(r"(https|ssh|git|ext|file)(::|://|:)[ -~]{0,40}", fullmatch=True)
    )
)
def test_whatever_passes_is_an_address(text: str) -> None:
    try:
        repository = judge(text)
    except BadUrl:
        return
    known = urlsplit(repository.url)
    assert known.scheme in SCHEMES and known.hostname and not known.password
    assert (
        not known.hostname.startswith("-")
        and "::" not in repository.url.partition("]")[2 if "[" in text else 0]
    )
    assert known.path.strip("/") and not known.query and not known.fragment
    assert judge(repository.url) == repository
    assert check_folder(repository.name) or True


@pytest.mark.parametrize("branch", ["main", "v1.0", "feature/x_y", "a+b@c"])
def test_branches(branch: str) -> None:
    assert check_branch(branch) == branch


@pytest.mark.parametrize(
    "branch", ["", "-x", "--upload-pack=id", "a..b", "a b", "a\n", "x.lock", "@{1}", "a@{1}", "/a", "a/"]
)
def test_no_branches(branch: str) -> None:
    with pytest.raises(BadUrl):
        check_branch(branch)


@pytest.mark.parametrize(
    "folder", ["..", ".", "", "/a", "a/", "a//b", "../a", "a/../b", ".ssh", "-a", "a/.git", "a\x00", "~"]
)
def test_no_folders(folder: str) -> None:
    with pytest.raises(BadUrl):
        check_folder(folder)


def wish(tmp_path: Path, url: str = "https://example.org:8443/r.git", **fields: object) -> Wish:
    return Wish("ab" * 16, judge(url), tmp_path / "r", **fields)  # type: ignore[arg-type]


def test_the_url_stands_behind_the_options(tmp_path: Path) -> None:
    argv = command_line(wish(tmp_path, branch="b", depth=1, submodules=True), tmp_path / "t", None)
    assert argv[-3:] == ["--", "https://example.org:8443/r.git", str(tmp_path / "t")]
    assert {"--branch=b", "--depth=1", "--recurse-submodules", "--shallow-submodules"} <= set(argv)


@pytest.mark.parametrize(
    ("host", "given_"),
    [("example.org:8443", True), ("example.org", False), ("evil.org", False), ("example.org:8444", False)],
)
def test_credentials_are_for_their_own_host(tmp_path: Path, host: str, given_: bool) -> None:
    secret = tmp_path / "it's secret"
    secret.write_text("username=u\npassword=hunter2\n")
    argv = command_line(wish(tmp_path), tmp_path / "t", secret)
    assert "hunter2" not in " ".join(argv)
    options = argv[1 : argv.index("clone")]
    done = subprocess.run(
        ["git", *options, "credential", "fill"], input=f"protocol=https\nhost={host}\n\n", text=True,
        capture_output=True, env=git_environment(os.environ), check=False,
    )  # fmt: skip
    assert ("password=hunter2" in done.stdout) is given_


async def test_a_local_path_is_refused_by_git_too(tmp_path: Path) -> None:
    """Should a submodule or a redirect name one, git itself must refuse it."""
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "local.git")], check=True)
    argv = command_line(wish(tmp_path), tmp_path / "t", None)
    argv[argv.index("--") + 1] = str(tmp_path / "local.git")
    done = subprocess.run(argv, env=git_environment(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "transport 'file' not allowed" in done.stderr


async def test_a_failed_clone_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, runtime = tmp_path / "home", tmp_path / "run"
    home.mkdir()
    runtime.mkdir()
    monkeypatch.setenv("PTH_RUNTIME_DIR", str(runtime))
    wanted = wish(home, "https://127.0.0.1:1/r.git", username="u", password="hunter2")
    with pytest.raises(SessionError) as caught:
        await clone(wanted, dict(os.environ), lambda *_: None)
    assert "Nothing was cloned." in caught.value.message and "hunter2" not in caught.value.message
    assert list(home.iterdir()) == [] and list(runtime.iterdir()) == []


async def test_an_ssh_key_is_a_private_file_while_git_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, runtime, programs, seen = (tmp_path / name for name in ("home", "run it", "bin", "seen"))
    for folder in (home, runtime, programs):
        folder.mkdir()
    monkeypatch.setenv("PTH_RUNTIME_DIR", str(runtime))
    ssh = programs / "ssh"
    ssh.write_text(
        "#!/bin/sh\n"
        f'case "$*" in *" -G "*|"-G "*) exit 1;; esac\n'
        f'env > {seen}.env; echo "$@" > {seen}.argv\n'
        'while [ "$1" != -i ]; do shift; done\n'
        f'cp "$2" {seen}; stat -c %a "$2" > {seen}.mode; echo "Permission denied (publickey)." >&2; exit 255\n'
    )
    ssh.chmod(0o755)
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\r\nhunter2\r\n-----END OPENSSH PRIVATE KEY-----"
    env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    wanted = wish(home, "git@example.org:team/r.git", ssh_key=key)
    assert "hunter2" not in repr(wanted)
    with pytest.raises(SessionError) as caught:
        await clone(wanted, env, lambda *_: None)
    assert "refused the key" in caught.value.message and "hunter2" not in caught.value.message
    assert seen.read_text() == key.replace("\r\n", "\n") + "\n"
    assert (tmp_path / "seen.mode").read_text() == "600\n"
    for name in ("seen.env", "seen.argv"):
        assert "hunter2" not in (tmp_path / name).read_text()
    assert "IdentitiesOnly=yes" in (tmp_path / "seen.argv").read_text()
    assert list(home.iterdir()) == [] and list(runtime.iterdir()) == []


def test_whom_an_administrator_trusts_counts() -> None:
    env = git_environment({"GIT_SSL_CAINFO": "/ca", "GIT_SSL_NO_VERIFY": "1", "GIT_DIR": "/x", "A": "b"})
    assert env["GIT_SSL_CAINFO"] == "/ca" and env["A"] == "b"
    assert "GIT_SSL_NO_VERIFY" not in env and "GIT_DIR" not in env


async def test_a_cancelled_clone_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTH_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    home = tmp_path / "home"
    home.mkdir()
    accepted = asyncio.Event()
    # A server that never answers.
    server = await asyncio.start_server(lambda *_: accepted.set(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    task = asyncio.ensure_future(
        clone(wish(home, f"git://127.0.0.1:{port}/r"), dict(os.environ), lambda *_: None)
    )
    await asyncio.wait_for(accepted.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    server.close()
    assert list(home.iterdir()) == []


async def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "mine").write_text("x")
    with pytest.raises(SessionError) as caught:
        await clone(wish(tmp_path), dict(os.environ), lambda *_: None)
    assert caught.value.status_code == 409 and (tmp_path / "r" / "mine").read_text() == "x"


def test_only_its_own_leftovers_are_removed(tmp_path: Path) -> None:
    for name in (f"{PREFIX}aa-1", f"{PREFIX}bb-1", "aa"):
        (tmp_path / name).mkdir()
    clean(tmp_path, "aa")
    assert {path.name for path in tmp_path.iterdir()} == {f"{PREFIX}bb-1", "aa"}


def test_progress_and_reasons() -> None:
    assert progress_of("Receiving objects:  50% (1/2)") == (40, "Receiving objects: 50%")
    assert progress_of("remote: Counting objects: 100% (2/2), done.") == (2, "Counting objects: 100%")
    assert progress_of("Cloning into 'x'...") is None
    assert explain("fatal: write error: No space left on device", False) == "The disk is full."
    assert "credentials" in explain("fatal: could not read Username for 'https://h': terminal prompts", False)
    tls = "fatal: unable to access 'https://h/r/': server certificate verification failed. CAfile: none"
    assert "not trusted" in explain(tls, False)
    assert explain("fatal: something odd", False) == "git says: fatal: something odd"
    assert "longer" in explain("", True)


@pytest.mark.parametrize("found", [[], ["README"], ["requirements.txt"], list(clone_setup.FILES)])
def test_setup_scripts_are_shell(found: list[str], tmp_path: Path) -> None:
    script = clone_setup.script(found)
    assert (script is None) == (not set(found) & set(clone_setup.FILES))
    if script is not None:
        subprocess.run(["/bin/sh", "-n", "-c", script], check=True)


def test_a_failed_installation_says_so(tmp_path: Path) -> None:
    (tmp_path / "npm").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "npm").chmod(0o755)
    script = clone_setup.script(["package.json"])
    assert script is not None
    done = subprocess.run(
        ["/bin/sh", "-c", script], cwd=tmp_path, env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3 and "Not everything was installed" in done.stdout
