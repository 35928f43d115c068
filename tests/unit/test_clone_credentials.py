"""What a secret must hold to open a repository; no sentence quotes it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from persistent_terminal_hub.control.clone_credentials import credentials_of
from persistent_terminal_hub.control.web import sentence
from persistent_terminal_hub.control.workspace_models import CloneWorkspace, CreateWorkspace

HTTPS = "https://git.example.org/r.git"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("value", "url", "fields"),
    [
        (b"alice:tok:en\n", HTTPS, {"credentials": {"username": "alice", "password": "tok:en"}}),
        (b"oauth2:x", "HTTPS://h/r", {"credentials": {"username": "oauth2", "password": "x"}}),
        (KEY.encode(), "ssh://git@h/r", {"sshKey": KEY + "\n"}),
        (b"\n" + KEY.replace("\n", "\r\n").encode(), "git@h:r", None),
        (b"-----BEGIN RSA PRIVATE KEY-----\nA\n-----END RSA PRIVATE KEY-----\n", "git@h:r", None),
    ],
)
def test_what_opens(value: bytes, url: str, fields: object) -> None:
    found = credentials_of("GIT", value, url)
    assert fields is None or found == fields


@pytest.mark.parametrize(
    ("value", "url", "words"),
    [
        (b"hunter2", HTTPS, "user:token"),
        (b":hunter2", HTTPS, "user:token"),
        (b"alice:", HTTPS, "user:token"),
        (b"alice:hun\nter2", HTTPS, "user:token"),
        (KEY.encode(), HTTPS, "user:token"),
        (b"alice:hunter2", "ssh://git@h/r", "private ssh key"),
        (b"-----BEGIN PUBLIC KEY-----\nhunter2\n-----END PUBLIC KEY-----", "git@h:r", "private ssh key"),
        (b"\xffhunter2", HTTPS, "no text"),
        (b"alice:hunter2", "git://h/r", "https and ssh"),
    ],
)
def test_what_does_not(value: bytes, url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        credentials_of("GIT", value, url)
    assert "hunter2" not in str(caught.value) and str(caught.value).endswith((".", ")."))


@given(st.binary(max_size=80), st.sampled_from([HTTPS, "git@h:r", "git://h/r", "", "x://"]))
def test_anything_opens_or_gets_a_sentence(value: bytes, url: str) -> None:
    try:
        found = credentials_of("GIT", value, url)
    except ValueError as error:
        assert not isinstance(error, UnicodeError) and str(error)
        return
    assert set(found) in ({"credentials"}, {"sshKey"})


def model(kind: type[CreateWorkspace], **fields: object) -> CreateWorkspace:
    return kind.model_validate_json(json.dumps({"name": "x", **fields}))


def test_bodies() -> None:
    source = {"url": HTTPS, "credentialsSecret": "GIT"}
    body = model(CloneWorkspace, source=source, secrets={"GIT": "alice:hunter2", "k.pem": ""})
    assert "hunter2" not in repr(body) and body.source is not None
    assert body.source.credentials_secret == "GIT" and body.secrets["GIT"] == "alice:hunter2"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"secrets": {"PATH": "hunter2"}}, "is taken by the workspace"),
        ({"secrets": {"../x": "hunter2"}}, "A secret's name"),
        ({"secrets": {"A": 7}}, "secrets.A"),
        ({"secrets": {"A": None}}, "secrets.A"),
        ({"secrets": {"A": "hunter2" * 10_000}}, "secrets.A"),
        ({"secrets": {f"A{n}": "" for n in range(101)}}, "secrets"),
        ({"secrets": ["A"]}, "secrets"),
        ({"env": {f"A{n}": "x" * 8000 for n in range(40)}}, "together"),
        ({"source": {"url": HTTPS, "credentialsSecret": "a/b"}}, "A secret's name"),
        (
            {
                "source": {
                    "url": HTTPS,
                    "credentialsSecret": "A",
                    "credentials": {"username": "u", "password": "hunter2"},
                }
            },
            "not both",
        ),
    ],
)
def test_bad_bodies(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        model(CreateWorkspace, **fields)
    said = sentence(caught.value)
    assert words in said and "hunter2" not in said and "hunter2" not in str(caught.value)
