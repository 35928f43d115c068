"""Containers or local processes: which backend this hub uses, and the sentence that says why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import docker

from persistent_terminal_hub.hub.data_dir import DataDir, write_private
from persistent_terminal_hub.settings import DockerSettings, Settings

Backend = Literal["docker", "process"]

#: What every user of the embedded backend must know; shown on the console and on every page.
NOT_ISOLATED = (
    "Workspaces on this hub are not isolated from each other: they run as local processes of one "
    "system user, so whoever has a terminal here can read the files of everybody else and of the hub."
)

#: Seconds within which an engine has to answer a ping.
PING_SECONDS = 3


@dataclass(frozen=True)
class Choice:
    """The backend, why, and whether the reason deserves attention."""

    backend: Backend
    reason: str
    warning: bool = False


def choose(
    asked: Literal["auto", "docker", "process"],
    remembered: Backend | None,
    engine_answers: bool,
    has_process_workspaces: bool,
) -> Choice:
    """Decide, from the setting, from what this data directory used before, and from the engine's ping.

    An engine that is away for a moment must never turn isolated workspaces into unisolated ones, so a
    directory that has used containers stays with them until the setting says otherwise.
    """
    if asked == "process":
        note = " Containers of earlier runs are left as they are." if remembered == "docker" else ""
        return Choice(
            "process", "Workspaces are local processes, as the setting workspace.backend asks." + note
        )
    away = (
        "The Docker Engine does not answer: workspaces cannot be started until it does (is dockerd running?)."
    )
    if asked == "docker":
        if engine_answers:
            return Choice("docker", "Workspaces are containers, as the setting workspace.backend asks.")
        return Choice("docker", away, warning=True)
    if remembered == "docker":
        if engine_answers:
            return Choice("docker", "Workspaces are containers, as before.")
        return Choice(
            "docker",
            f"{away} This hub has used containers before, so it does not fall back to local processes "
            "without isolation; set workspace.backend to process if that is what you want.",
            warning=True,
        )
    if remembered == "process" and has_process_workspaces:
        if engine_answers:
            return Choice(
                "process",
                "Workspaces stay local processes because some exist already, although a Docker Engine "
                "answers now; set workspace.backend to docker to use containers from here on.",
                warning=True,
            )
        return Choice("process", "Workspaces are local processes, as before: no Docker Engine answers.")
    if engine_answers:
        return Choice("docker", "Workspaces are containers: a Docker Engine answers.")
    return Choice("process", "Workspaces are local processes: no Docker Engine answers.")


def docker_client(settings: DockerSettings) -> docker.DockerClient:
    """A client of the engine that the settings name, for a quick question."""
    if settings.host:
        return docker.DockerClient(base_url=settings.host, timeout=PING_SECONDS)
    return docker.from_env(timeout=PING_SECONDS)


def engine_answers(settings: DockerSettings) -> bool:
    """Whether a Docker Engine answers a ping within `PING_SECONDS`."""
    try:
        client = docker_client(settings)
        try:
            return bool(client.ping())
        finally:
            client.close()
    except Exception:
        # docker-py raises its own, requests' and OSError's; each means that nobody answers.
        return False


def problem_with_image(settings: Settings) -> str:
    """A missing workspace image, which else only the first start of one would notice; empty if there."""
    image = settings.workspace.image
    try:
        client = docker_client(settings.docker)
        try:
            client.images.get(image)
        finally:
            client.close()
    except docker.errors.ImageNotFound:
        return (
            f"The engine has no image {image}, so no workspace can start: build it with `make image`, "
            "or name another with workspace.image."
        )
    except Exception:
        return ""  # an engine that is away was reported already
    return ""


#: What an engine without live-restore means for sessions, and the remedy.
NO_LIVE_RESTORE = (
    "The Docker Engine runs without live-restore, so a restart or an upgrade of the Docker daemon ends all "
    'workspaces and their terminals: write {"live-restore": true} into /etc/docker/daemon.json and reload '
    "the daemon (systemctl reload docker, or send dockerd a HUP), which ends nothing."
)


def problem_with_live_restore(settings: DockerSettings) -> str:
    """The sentence for an engine whose restart would end every session; empty when it would not."""
    try:
        client = docker_client(settings)
        try:
            kept = client.info().get("LiveRestoreEnabled")
        finally:
            client.close()
    except Exception:
        return ""  # an engine that is away was reported already
    return NO_LIVE_RESTORE if kept is False else ""


def resolve(settings: Settings, data: DataDir) -> Choice:
    """Choose the backend for this data directory and remember the choice in it."""
    asked = settings.workspace.backend
    try:
        text = data.backend_file.read_text().strip()
    except FileNotFoundError:
        text = ""
    remembered: Backend | None = "docker" if text == "docker" else "process" if text == "process" else None
    answers = asked != "process" and engine_answers(settings.docker)
    has_process_workspaces = data.workspaces.is_dir() and any(data.workspaces.iterdir())
    choice = choose(asked, remembered, answers, has_process_workspaces)
    # A directory that has used containers keeps that mark even while `process` is asked for:
    # going back to `auto` must find the containers again.
    if remembered != choice.backend and not (remembered == "docker" and choice.backend == "process"):
        write_private(data.backend_file, choice.backend + "\n")
    return choice
