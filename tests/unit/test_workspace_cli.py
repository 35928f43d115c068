"""The commands `workspace`, `sessions`, `secrets`, `usage`: what they ask, print, and exit with."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.cli import main
from persistent_terminal_hub.client import command, control_service, errors, exec_command, tables
from persistent_terminal_hub.client.executing import Executed
from persistent_terminal_hub.client.user_secrets_cli import read_value
from persistent_terminal_hub.client.workspace_command import name_from
from tests.unit.test_control_client import (
    CHANGE,
    DONE,
    END,
    ENDED,
    OPERATION,
    WORKSPACE,
    Script,
    ok,
    output,
    progress,
    refused,
    stream,
)

ME = {"name": "alice", "kind": "user"}
SESSION = {
    "id": "a" * 32 + ".s1", "workspaceId": "a" * 32, "workspace": "alice~lab", "sessionId": "s1",
    "name": "tra\x1b[2Jin", "state": "dormant", "created": "2026-11-21T10:00:00.000Z", "argv": ["python3"],
}  # fmt: skip


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command against a script of answers; the result and what was asked."""

    def run(
        arguments: list[str], *answers: Any, stdin: bytes | None = None
    ) -> tuple[Result, list[httpx.Request]]:
        script = Script(*answers)
        monkeypatch.setattr(control_service, "find_control_service", lambda _hub: script.service())
        monkeypatch.setattr(exec_command, "read_stdin", lambda: stdin or b"")
        result = CliRunner().invoke(main, arguments, input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert script.answers == [], "all that it was expected to ask was asked"
        return result, script.asked

    return run


# -- pure parts --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NotConfigured("x"), 2), (errors.NoSuchWorkspace("x"), 3), (errors.NoSuchSession("x"), 3),
        (errors.NotFound("x"), 3), (errors.NotYours("x"), 4), (errors.SignInAgain("x"), 4),
        (errors.WorkspaceLocked("x"), 5), (errors.Unreachable("x"), 6), (errors.Conflict("x"), 1),
        (errors.Refused("x"), 1), (errors.OperationFailed("x"), 1), (errors.ClientError("x"), 1),
    ],
)  # fmt: skip
def test_exit_statuses(error: errors.ClientError, status: int) -> None:
    assert command.status_of(error) == status


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"exit_code": 0}, 0), ({"exit_code": 3}, 3), ({"exit_code": 255}, 255),
        ({"signal": 9}, 137), ({"signal": 15, "timed_out": True}, 124), ({}, 125),
    ],
)  # fmt: skip
def test_exit_statuses_of_commands(fields: dict[str, Any], status: int) -> None:
    plain: dict[str, Any] = {
        "exit_code": None, "signal": None, "timed_out": False, "seconds": 1.0, "stdout_bytes": 0,
        "stderr_bytes": 0, "stdout_truncated": False, "stderr_truncated": False,
    }  # fmt: skip
    assert exec_command.exit_status(Executed(**(plain | fields))) == status


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=5))
def test_nothing_in_a_table_drives_the_terminal(rows: list[tuple[str, str]]) -> None:
    lines = tables.table(("A", "B"), rows)
    assert len(lines) == len(rows) + 1
    assert all(line.isprintable() for line in lines)


def test_tables_are_aligned() -> None:
    assert tables.table(("NAME", "X"), [("漢字漢字", 1), ("a\nb", 22)]) == [
        "NAME      X", "漢字漢字  1", "a?b       22",
    ]  # fmt: skip
    assert tables.fields([("A", 1), ("Empty", ""), ("Long", None), ("Bc", 0)]) == ["A   1", "Bc  0"]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"),
        (1024**2 - 1, "1.0 MiB"), (5 * 1024**3, "5.0 GiB"), (2**70, "1048576.0 PiB"),
    ],
)  # fmt: skip
def test_sizes(count: float | None, text: str) -> None:
    assert tables.size(count) == text


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (None, "-"), ("", "-"), (990.0, "just now"), (400.0, "10 min ago"), (-90000.0, "1 d ago"),
        (5000.0, "just now"), ("1970-01-01T00:00:00Z", "16 min ago"), ("1970-01-01T00:00:00", "16 min ago"),
        ("yesterday", "yesterday"),
    ],
)  # fmt: skip
def test_how_long_ago(moment: str | float | None, text: str) -> None:
    assert tables.ago(moment, 1000.0) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1d12h", 129600), ("0", 0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert command.Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://git.example.org/team/Paper_2.git", "paper-2"), ("git@host:x/42-answers", "answers"),
        ("ssh://h/a/" + "long" * 20, ("long" * 20)[:30]), ("https://h/a/b/", "b"),
    ],
)  # fmt: skip
def test_a_name_for_a_repository(url: str, name: str) -> None:
    assert name_from(url) == name


def test_no_name_for_a_repository() -> None:
    with pytest.raises(errors.NotConfigured, match="NAME"):
        name_from("https://h/漢字.git")


def test_variables() -> None:
    assert command.environment(["A=1", "B=x=y", "C"], {"C": "here"}) == {"A": "1", "B": "x=y", "C": "here"}
    for wrong in ("=x", "D"):
        with pytest.raises(errors.NotConfigured):
            command.environment([wrong], {})


# -- workspace ---------------------------------------------------------------------------------------------
def test_create_says_how_far_it_is(call: Any) -> None:
    answers = [ok(CHANGE, 202), stream(progress(1, "Starting"), END), ok(DONE), ok(WORKSPACE)]
    result, asked = call(["workspace", "create", "lab", "--cpu", "2", "-e", "A=1"], *answers)
    assert result.exit_code == 0, result.output
    assert result.stdout == "alice/lab was created: http://hub/user/alice/lab/\n"
    assert result.stderr == "[  1 %] Starting 1\n"
    assert json.loads(asked[0].content)["env"] == {"A": "1"}
    answers = [ok(CHANGE, 202), stream(progress(1), END), ok(DONE), ok(WORKSPACE)]
    result, _ = call(["workspace", "create", "lab", "--json"], *answers)
    assert json.loads(result.stdout)["operation"]["state"] == "done"


def test_a_creation_that_fails(call: Any) -> None:
    failed = ok(OPERATION | {"state": "failed", "error": "The repository asks for a password."})
    result, asked = call(
        ["workspace", "clone", "https://h/team/Paper.git", "--depth", "1", "--install"],
        ok(CHANGE, 202), stream(END), failed,
    )  # fmt: skip
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: The repository asks for a password.\n"
    body = json.loads(asked[0].content)
    assert body["name"] == "paper" and body["source"] == {
        "url": "https://h/team/Paper.git", "depth": 1, "submodules": False, "install": True,
    }  # fmt: skip


def test_a_password_comes_from_standard_input(call: Any) -> None:
    arguments = ["workspace", "clone", "https://h/r.git", "--username", "u", "--password-stdin", "--no-wait"]
    result, asked = call(arguments, ok(CHANGE, 202), stdin=b"p w\n")
    assert result.exit_code == 0 and "workspace wait alice/lab" in result.stderr
    assert json.loads(asked[0].content)["source"]["credentials"] == {"username": "u", "password": "p w"}


def test_refusals_are_sentences(call: Any) -> None:
    for answer, status in ((refused(404, "There is none."), 3), (refused(403, "Not you."), 4)):
        result, _ = call(["workspace", "stop", "bob/lab"], answer)
        assert result.exit_code == status and result.stderr.startswith("error: ")
        assert len(result.stderr.splitlines()) == 1


def test_nothing_to_do(call: Any) -> None:
    result, _ = call(["workspace", "start", "bob/lab"], ok({"workspace": WORKSPACE, "operation": None}))
    assert (result.exit_code, result.stderr) == (0, "There was nothing to do: alice/lab is running.\n")


def test_list_and_show(call: Any) -> None:
    result, asked = call(["workspace", "list"], ok(ME), ok({"workspaces": [WORKSPACE]}))
    assert result.stdout.splitlines()[1].split()[:2] == ["alice/lab", "running"]
    assert dict(asked[1].url.params) == {"owner": "alice"}
    result, asked = call(["workspace", "list", "--all", "--json"], ok({"workspaces": [WORKSPACE]}))
    assert json.loads(result.stdout) == [WORKSPACE] and not asked[0].url.params
    result, _ = call(["workspace", "show", "bob/lab"], ok(WORKSPACE))
    assert "Status        running" in result.stdout


def test_a_deletion_says_what_is_lost(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = [ok(WORKSPACE), ok({"sessions": [SESSION, SESSION | {"state": "ended", "name": "old"}]})]
    result, asked = call(["workspace", "delete", "alice/lab"], *looked, stdin=b"")
    assert result.exit_code == 2 and "--yes" in result.stderr
    assert "Running sessions that end with it: tra?[2Jin.\n" in result.stderr
    assert {request.method for request in asked} == {"GET"}
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda self: True, raising=False)
    result, asked = call(["workspace", "delete", "alice/lab"], *looked, stdin=b"other\n")
    assert result.exit_code == 1 and result.stderr.endswith("Nothing was deleted.\n")
    nameless = WORKSPACE | {"name": "", "status": "stopped"}
    result, asked = call(["workspace", "delete", "alice/"], ok(nameless), stdin=b"\n")
    assert result.exit_code == 1 and [request.method for request in asked] == ["GET"]
    deletion = {"workspace": WORKSPACE, "operation": OPERATION | {"kind": "delete"}}
    for arguments, before in ((["alice/lab"], looked), (["alice/lab", "--yes"], looked[:1])):
        after = [ok(deletion, 202), stream(END), ok(DONE | {"kind": "delete"})]
        result, asked = call(["workspace", "delete", *arguments], *before, *after, stdin=b"lab\n")
        assert (result.exit_code, result.stdout) == (0, "alice/lab is deleted.\n"), result.stderr
        assert [request.method for request in asked if request.method != "GET"] == ["DELETE"]


def test_set_keeps_the_other_variables(call: Any) -> None:
    before = WORKSPACE | {"env": {"A": "1", "B": "2", "C": "3"}}
    arguments = ["workspace", "set", "bob/lab", "-e", "A=9", "--unset", "B", "--memory", "2G"]
    result, asked = call(arguments, ok(before), ok(before))
    assert json.loads(asked[1].content) == {"resources": {"memory": "2G"}, "env": {"A": "9", "C": "3"}}
    assert "at its next start" in result.stderr
    result, _ = call(["workspace", "set", "bob/lab"], ok(before))
    assert result.exit_code == 2


# -- exec --------------------------------------------------------------------------------------------------
def test_exec_keeps_outputs_apart_and_passes_the_status_on(call: Any) -> None:
    lines = (
        output("stdout", b"o\xff") + output("stderr", b"e") + json.dumps({"result": ENDED}).encode() + b"\n"
    )
    result, asked = call(
        ["workspace", "exec", "-t", "1m", "bob/lab", "--", "sh", "-c", "exit 3"],
        stream(lines, kind="application/x-ndjson"), stdin=b"in",
    )  # fmt: skip
    assert result.exit_code == 3
    assert (result.stdout_bytes, result.stderr_bytes) == (b"o\xff", b"e")
    body = json.loads(asked[0].content)
    assert body["command"] == ["sh", "-c", "exit 3"] and body["timeout"] == 60 and body["stream"] is True
    assert base64.b64decode(body["stdin"]) == b"in"


def test_exec_fails_with_125(call: Any) -> None:
    for answer in (refused(404, "None."), refused(423, "Locked."), stream(b"", kind="application/x-ndjson")):
        result, _ = call(["workspace", "exec", "bob/lab", "true"], answer)
        assert result.exit_code == 125 and result.stderr.startswith("error: ")
    for arguments in (
        ["bob/lab"],
        ["-t", "soon", "bob/lab", "x"],
        ["-e", "=", "bob/lab", "x"],
        ["bob/lab", "--"],
    ):
        result, _ = call(["workspace", "exec", *arguments])
        assert result.exit_code == 125


def test_exec_says_what_the_outputs_do_not(call: Any) -> None:
    late = ENDED | {
        "timedOut": True,
        "exitCode": None,
        "signal": 15,
        "stdoutTruncated": True,
        "stdoutBytes": 9,
    }
    lines = json.dumps({"result": late}).encode() + b"\n"
    result, _ = call(["workspace", "exec", "bob/lab", "x"], stream(lines, kind="application/x-ndjson"))
    assert result.exit_code == 124
    assert "--timeout" in result.stderr and "wrote 9 bytes of output" in result.stderr
    result, _ = call(
        ["workspace", "exec", "--json", "bob/lab", "x"], ok({**ENDED, "stdout": "/w==", "stderr": ""})
    )
    model = json.loads(result.stdout)
    assert (result.exit_code, model["stdout"], model["stdoutEncoding"]) == (3, "/w==", "base64")
    assert (model["stderr"], model["stderrEncoding"]) == ("", "utf-8")


# -- the others --------------------------------------------------------------------------------------------
def test_sessions(call: Any) -> None:
    result, _ = call(["sessions"], ok(ME), ok({"sessions": [SESSION | {"stale": True}]}))
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1].startswith("alice/lab:tra?[2Jin  dormant (?)")
    ended = SESSION | {"id": "x.old", "name": "job", "state": "ended"}
    running = SESSION | {"name": "job"}
    result, asked = call(
        ["sessions", "end", "bob/lab:job"], ok({"sessions": [ended, running]}), httpx.Response(204)
    )
    assert asked[1].url.path.endswith(SESSION["id"]), "the running one is meant"
    result, _ = call(["sessions", "rename", "bob/lab:none", "x"], ok({"sessions": []}))
    assert result.exit_code == 3


def test_a_secret_is_never_an_argument(call: Any) -> None:
    result, asked = call(["secrets", "set", "A"], httpx.Response(201), stdin=b"v\xc3\xa4l\n\n")
    assert result.exit_code == 0 and json.loads(asked[0].content) == {"value": "väl\n"}
    result, _ = call(["secrets", "set", "A", "hunter2"])
    assert result.exit_code == 2 and "hunter2" not in result.output
    result, _ = call(["secrets", "set", "A"], stdin=b"\n")
    assert result.exit_code == 2 and "nothing was set" in result.stderr
    result, _ = call(["secrets", "delete", "A", "--workspace", "bob/lab"], refused(404, "None."))
    assert result.exit_code == 3


def test_a_secret_from_a_file_is_as_it_is(tmp_path: Any) -> None:
    (tmp_path / "key").write_bytes(b"\x00key\n")
    assert read_value(tmp_path / "key") == b"\x00key\n"
    with pytest.raises(errors.NotConfigured, match="cannot be read"):
        read_value(tmp_path / "none")


def test_usage(call: Any) -> None:
    amount = {
        "cpuSeconds": 61.0, "memoryBytes": 1024, "memoryPeak": 2048, "diskBytes": 0, "receivedBytes": 1,
        "sentBytes": 2,
    }  # fmt: skip
    lab = {"user": "alice", "name": "lab", "samples": [], "sessions": [{"id": "s", **amount}], **amount}
    users = [{"user": "alice", **amount}]
    answer = {"from": 1, "to": 2, "resolution": None, "users": users, "workspaces": [lab]}
    result, asked = call(["usage", "--since", "7d", "--sessions"], ok(answer))
    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        "WORKSPACE",
        "alice/lab",
        "s",
        "alice,",
    ]
    assert asked[0].url.params["sessions"] == "true"
    result, _ = call(["usage", "--all", "--json"], ok(answer))
    assert json.loads(result.stdout)["from"] == 1


def test_names_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    default = WORKSPACE | {"name": ""}
    for incomplete, names in (("", ["lab", "alice/"]), ("l", ["lab"]), ("alice/l", ["alice/lab"])):
        script = Script(ok(ME), ok({"workspaces": [WORKSPACE, default]}))
        monkeypatch.setattr(control_service, "find_control_service", lambda _hub, s=script: s.service())
        assert command.complete_workspace(None, None, incomplete) == names  # type: ignore[arg-type]
    script = Script(httpx.ConnectError("away"))
    monkeypatch.setattr(control_service, "find_control_service", lambda _hub: script.service())
    assert command.complete_workspace(None, None, "") == []  # type: ignore[arg-type]


def test_help_has_examples() -> None:
    for words in (["workspace"], ["workspace", "exec"], ["sessions"], ["secrets", "set"]):
        result = CliRunner().invoke(main, [*words, "--help"])
        assert result.exit_code == 0 and "Example" in result.output
