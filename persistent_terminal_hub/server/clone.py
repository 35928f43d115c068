"""Clones a repository into a new folder of the home: all of it, or nothing.

git works in a hidden sibling, which is renamed when it is whole. What a killed server left there is removed
by the next one. git gets no terminal, asks nobody, and takes no transport but those that `clone_url` lets
pass, also for submodules. Credentials lie in a private file of the runtime directory (a tmpfs in containers)
while git runs, and count for the repository's own host only.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import re
import secrets
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .clone_url import SCHEMES, Repository
from .errors import SessionError
from .execute import Command, Stream, execute

log = logging.getLogger(__name__)

SECONDS = 3600.0
#: Bytes of git's progress that are read.
PROGRESS_BYTES = 8 * 1024 * 1024
PREFIX = ".pth-clone-"
#: The identity of the clone in the repository's own settings: who asks again finds it done.
MARK = "pth.clone"

# Shares of the whole, by what git says it is doing.
_PHASES = {
    "Counting objects": (0, 2),
    "Compressing objects": (2, 5),
    "Receiving objects": (5, 75),
    "Resolving deltas": (75, 90),
    "Updating files": (90, 98),
}
_TRUST = ("GIT_SSL_CAINFO", "GIT_SSL_CAPATH")
_PROGRESS = re.compile(r"(?:remote: )?([A-Z][a-z]+ [a-z]+):\s+(\d{1,3})%")
_SENTENCES = (
    ("No space left on device", "The disk is full."),
    ("Disk quota exceeded", "The disk quota is used up."),
    ("could not read Username", "The repository does not exist, or asks for credentials."),
    ("terminal prompts disabled", "The repository does not exist, or asks for credentials."),
    ("Authentication failed", "The repository refused the credentials."),
    ("Host key verification failed", "The host shows another key than the one that is known of it."),
    ("invalid format", "The ssh key is none, or asks for a passphrase."),
    ("error in libcrypto", "The ssh key is none, or asks for a passphrase."),
    ("Permission denied", "The server refused the key or the credentials, or a folder may not be written."),
    ("not found in upstream", "There is no such branch or tag."),
    ("Could not resolve host", "There is no such host, or it cannot be reached from this workspace."),
    ("Connection refused", "The host refused the connection."),
    ("timed out", "The host did not answer."),
    ("server certificate verification failed", "The host's certificate is not trusted in this workspace."),
    ("SSL certificate problem", "The host's certificate is not trusted in this workspace."),
    ("Failed to connect", "The host cannot be reached from this workspace."),
    ("transport '", "The repository, or one of its submodules, needs a transport that is not allowed."),
    ("not found", "There is no such repository."),
    ("does not exist", "There is no such repository."),
    ("access denied or repository not exported", "There is no such repository."),
    ("unable to access", "The repository cannot be reached."),
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What to clone, and how."""

    id: str
    repository: Repository
    target: Path
    branch: str | None = None
    depth: int | None = None
    submodules: bool = False
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    ssh_key: str = field(default="", repr=False)


async def clone(wish: Wish, env: Mapping[str, str], tell: Callable[[int, str], None]) -> None:
    """Clone. Raises SessionError with what went wrong; then, and cancelled, nothing is left of it."""
    home = wish.target.parent
    await asyncio.to_thread(clean, home, wish.id)
    if wish.target.exists():
        if await _is_ours(wish, env):
            return
        raise SessionError(
            409, f"There is a {wish.target.name!r} already; nothing was cloned.", "Name another folder."
        )
    temporary = home / f"{PREFIX}{wish.id}-{secrets.token_hex(4)}"
    with contextlib.ExitStack() as undo:
        secret = _write_credentials(wish, undo)
        try:
            await _git(wish, temporary, dict(env), secret, tell)
        except BaseException:
            # In a thread: a large tree would hold every terminal of this server up.
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, temporary, ignore_errors=True))
            raise
        tell(98, "Putting it in its place.")
        # Not over what somebody made there meanwhile.
        try:
            if wish.target.is_symlink() or wish.target.exists():
                raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
            temporary.rename(wish.target)
        except OSError as error:
            await asyncio.to_thread(shutil.rmtree, temporary, ignore_errors=True)
            raise SessionError(
                409, f"{wish.target.name!r} cannot be made ({error.strerror}); nothing was cloned."
            ) from None


def clean(home: Path, identity: str = "") -> None:
    """Remove what killed clones left (of this identity, or all)."""
    for left in home.glob(f"{PREFIX}{identity}*"):
        shutil.rmtree(left, ignore_errors=True)


def command_line(wish: Wish, temporary: Path, secret: Path | None) -> list[str]:
    """What git is asked for."""
    settings = [
        # Nothing of the user's own may answer for them, or be run instead.
        "credential.helper=",
        "core.askPass=",
        "core.fsmonitor=false",
        "protocol.allow=never",
        *(f"protocol.{scheme}.allow=always" for scheme in SCHEMES),
        # Set by clone itself: a redirect to another host would take the credentials there.
        "http.followRedirects=initial",
        # What is cloned by symbolic links cannot leave .git.
        "transfer.fsckObjects=true",
    ]
    if secret is not None:
        path = "'" + str(secret).replace("'", "'\\''") + "'"
        helper = f'!f() {{ test "$1" = get && cat {path}; }}; f'
        settings.append(f"credential.{wish.repository.origin}.helper={helper}")
    argv = ["git"]
    for setting in settings:
        argv += ["-c", setting]
    argv += ["clone", "--progress", "--config", f"{MARK}={wish.id}"]
    if wish.branch:
        argv.append(f"--branch={wish.branch}")
    if wish.depth:
        argv.append(f"--depth={wish.depth}")
    if wish.submodules:
        argv.append("--recurse-submodules")
        if wish.depth:
            argv.append("--shallow-submodules")
    return [*argv, "--", wish.repository.url, str(temporary)]


def progress_of(text: str) -> tuple[int, str] | None:
    """Percent and words of a line of git's; None when it says nothing of that."""
    found = _PROGRESS.search(text)
    if found is None or found[1] not in _PHASES:
        return None
    low, high = _PHASES[found[1]]
    return low + (high - low) * min(int(found[2]), 100) // 100, f"{found[1]}: {found[2]}%"


def explain(output: str, timed_out: bool) -> str:
    """What went wrong, as a sentence."""
    if timed_out:
        return f"The clone took longer than {SECONDS:.0f} seconds."
    for sign, sentence in _SENTENCES:
        if sign in output:
            return sentence
    lines = [line.strip() for line in re.split(r"[\r\n]+", output) if line.startswith(("fatal:", "error:"))]
    # It may quote the URL, in which there are no credentials.
    return f"git says: {lines[-1][:300]}" if lines else "git failed and did not say why."


def git_environment(env: Mapping[str, str], ssh_key: Path | None = None) -> dict[str, str]:
    """Nobody is asked anything; nothing of an outer repository counts, but whom an administrator trusts."""
    kept = {key: value for key, value in env.items() if not key.startswith("GIT_") or key in _TRUST}
    ssh = "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o ConnectTimeout=30"
    if ssh_key is not None:
        ssh += f" -o IdentitiesOnly=yes -o IdentityAgent=none -i {shlex.quote(str(ssh_key))}"
    return kept | {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "SSH_ASKPASS_REQUIRE": "never",
        "GIT_SSH_COMMAND": ssh,
        "GIT_ALLOW_PROTOCOL": ":".join(SCHEMES),
        "GCM_INTERACTIVE": "never",
        "LC_ALL": "C.UTF-8",
    }


async def _git(
    wish: Wish, temporary: Path, env: dict[str, str], secret: Path | None, tell: Callable[[int, str], None]
) -> None:
    said = ""

    async def listen(_stream: Stream, data: bytes) -> None:
        nonlocal said
        said = (said + data.decode(errors="replace"))[-16384:]
        for line in reversed(re.split(r"[\r\n]", said)):
            progress = progress_of(line)
            if progress is not None:
                tell(*progress)
                break

    outcome = await execute(
        Command(
            argv=command_line(wish, temporary, None if wish.ssh_key else secret),
            cwd=str(wish.target.parent),
            env=git_environment(env, secret if wish.ssh_key else None),
            timeout=SECONDS,
            limit=PROGRESS_BYTES,
        ),
        listen,
    )
    if outcome.code != 0:
        raise SessionError(422, f"{explain(said, outcome.timed_out)} Nothing was cloned.")


async def _is_ours(wish: Wish, env: Mapping[str, str]) -> bool:
    """Whether the folder is what this very clone made, before its server was killed."""
    argv = ["git", "-C", str(wish.target), "config", "--local", "--get", MARK]
    outcome = await execute(
        Command(argv=argv, cwd=str(wish.target.parent), env=git_environment(env), timeout=10)
    )
    return outcome.code == 0 and bytes(outcome.stdout.data).decode(errors="replace").strip() == wish.id


def _write_credentials(wish: Wish, undo: contextlib.ExitStack) -> Path | None:
    """A private file in git's or ssh's own form, gone when the stack is."""
    if wish.ssh_key:
        content = wish.ssh_key.replace("\r\n", "\n").rstrip("\n") + "\n"
    elif wish.password:
        content = f"username={wish.username}\npassword={wish.password}\n"
    else:
        return None
    directory = Path(os.environ.get("PTH_RUNTIME_DIR") or "/dev/shm")  # noqa: S108  (0600, O_EXCL)
    path = directory / f"clone-{secrets.token_hex(8)}"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        undo.callback(path.unlink, missing_ok=True)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
    except OSError as error:
        raise SessionError(
            503, f"The credentials cannot be kept while git runs ({error.strerror}); nothing was cloned."
        ) from None
    return path
