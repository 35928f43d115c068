"""Which repositories may be cloned, and where to: judged before git sees anything (pure).

git takes a URL for far more than an address: `ext::` runs a command, `file:` and a path read the disk, a
leading `-` is an option. So only what is known to be an address passes, and it is put together anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

SCHEMES = ("https", "ssh", "git")
MAX_URL = 2048
_CHARACTERS = re.compile(r"[A-Za-z0-9._~:/@!$&'()*+,;=%\[\]-]+")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SCP = re.compile(
    r"(?P<user>[A-Za-z0-9][A-Za-z0-9._-]{0,63})@(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?P<path>[^:/-].*)"
)
# A line end in a host or path was a way to another host's credentials once.
_HIDDEN_CONTROL = re.compile(r"%(?:[01][0-9A-Fa-f]|7[Ff])")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+@#-]{0,254}")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@ -]{0,127}")
MAX_PARTS = 8


class BadUrl(ValueError):
    """What may not be cloned, in a sentence. It never quotes the URL: a password may be in it."""


@dataclass(frozen=True, slots=True)
class Repository:
    """What may be cloned."""

    url: str
    scheme: str
    #: scheme://host[:port], for which credentials count.
    origin: str
    #: What a folder for it would be called.
    name: str


def judge(text: str) -> Repository:
    """The repository that `text` names. Raises BadUrl."""
    if not 1 <= len(text) <= MAX_URL:
        raise BadUrl(f"The URL of a repository has 1 to {MAX_URL} characters.")
    if text.startswith("-"):
        raise BadUrl("The URL of a repository does not begin with '-'.")
    if not _CHARACTERS.fullmatch(text) or _HIDDEN_CONTROL.search(text) or _BAD_ESCAPE.search(text):
        raise BadUrl("The URL holds characters that belong into no URL of a repository.")
    if "://" not in text:
        scp = _SCP.fullmatch(text)
        if scp is None:
            raise BadUrl("Give the repository's URL with https://, ssh:// or git:// (or user@host:path).")
        text = f"ssh://{scp['user']}@{scp['host']}/{scp['path']}"
    scheme, _, rest = text.partition("://")
    if scheme.lower() not in SCHEMES:
        raise BadUrl("Only https, ssh and git URLs may be cloned.")
    authority, slash, path = rest.partition("/")
    userinfo, at, place = authority.rpartition("@")
    _check_user(scheme.lower(), userinfo, bool(at))
    host, port = _host_and_port(place)
    if not slash or not path.strip("/"):
        raise BadUrl("The URL names a host, but no repository on it.")
    if any(part in (".", "..") for part in re.split(r"/|%2[fF]", re.sub(r"%2[eE]", ".", path))):
        raise BadUrl("The path of the URL holds '.' or '..'.")
    origin = f"{scheme.lower()}://{host.lower()}{port}"
    url = f"{scheme.lower()}://{userinfo}{at}{host.lower()}{port}/{path}"
    # Our reading and the library's must be one.
    known = urlsplit(url)
    if known.scheme != scheme.lower() or known.netloc != f"{userinfo}{at}{host.lower()}{port}":
        raise BadUrl("The URL can be read in two ways.")
    return Repository(url, scheme.lower(), origin, _name(path))


def check_branch(branch: str) -> str:
    """A branch or tag. Raises BadUrl."""
    if not _BRANCH.fullmatch(branch) or ".." in branch or "//" in branch or "@{" in branch:
        raise BadUrl("This is not a name that a branch or tag can have.")
    if branch.endswith(("/", ".", ".lock")):
        raise BadUrl("This is not a name that a branch or tag can have.")
    return branch


def check_folder(folder: str) -> str:
    """A relative path of plain names. Raises BadUrl."""
    parts = folder.split("/")
    if len(parts) > MAX_PARTS or not all(
        _PART.fullmatch(part) and not part.endswith((" ", ".")) for part in parts
    ):
        raise BadUrl(
            "The folder is a path inside the home, of names of letters, digits, '.', '_' and '-' "
            "that do not begin with '.' or '-'."
        )
    return folder


def _check_user(scheme: str, userinfo: str, given: bool) -> None:
    if not given:
        return
    if scheme != "ssh":
        raise BadUrl(
            "Credentials do not belong into the URL, where they would be kept in the repository's settings: "
            "give them as credentials."
        )
    if not _USER.fullmatch(userinfo):
        raise BadUrl("The user in the URL is not one, or comes with a password.")


def _host_and_port(place: str) -> tuple[str, str]:
    host, colon, port = place.rpartition(":") if re.search(r":[0-9]*$", place) else (place, "", "")
    if place.endswith("]"):
        host, colon, port = place, "", ""
    if not _HOST.fullmatch(host) or ".." in host:
        raise BadUrl("The URL names no host.")
    if colon and not (port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise BadUrl("The URL's port is none.")
    return host, f":{int(port)}" if colon else ""


def _name(path: str) -> str:
    last = path.rstrip("/").rpartition("/")[2].removesuffix(".git")
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", last).lstrip(".-").rstrip(".-")[:64]
    return plain or "repository"
