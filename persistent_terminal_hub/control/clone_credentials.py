"""What a secret holds that opens a repository: `user:token` for https, a private key for ssh (pure)."""

from __future__ import annotations

import re

_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----\r?\n.+-----END ", re.DOTALL)
_USER = re.compile(r"[^\x00-\x1f\x7f]{1,255}")
_TOKEN = re.compile(r"[^\x00\r\n]{1,4096}")


def credentials_of(name: str, value: bytes, url: str) -> dict[str, object]:
    """The fields of a workspace's clone request. Raises ValueError with a sentence that quotes no value."""
    scheme = url.partition("://")[0].lower() if "://" in url else "ssh"
    try:
        text = value.decode().strip()
    except UnicodeDecodeError:
        raise ValueError(f"The secret {name} is no text, so it opens no repository.") from None
    if scheme == "ssh":
        if not _KEY.match(text):
            raise ValueError(
                f"The secret {name} holds no private ssh key, which the URL asks for "
                "(-----BEGIN OPENSSH PRIVATE KEY-----)."
            )
        return {"sshKey": text + "\n"}
    if scheme != "https":
        raise ValueError("Credentials are for https and ssh URLs only.")
    user, colon, token = text.partition(":")
    if _KEY.match(text) or not colon or not _USER.fullmatch(user) or not _TOKEN.fullmatch(token):
        raise ValueError(f"The secret {name} is not of the form user:token, which an https URL asks for.")
    return {"credentials": {"username": user, "password": token}}
