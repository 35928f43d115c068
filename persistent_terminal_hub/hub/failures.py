"""What people are told when a workspace cannot be started or stopped."""

from __future__ import annotations

import html

from jupyterhub.spawner import SpawnException

from persistent_terminal_hub.hub.docker_client import EngineError, Kind


class WorkspaceProblem(SpawnException):
    """A failure that the person who waits is told about in one or two sentences.

    JupyterHub shows ``jupyterhub_message`` on the spawn page and in its API, logs no stack trace for a
    SpawnException, and does not count it towards ``consecutive_failure_limit`` (which ends the hub).
    """

    def __init__(self, message: str, *, reason: str, status_code: int = 503, log_message: str = "") -> None:
        super().__init__(
            message, reason=reason, status_code=status_code, log_message=_percent(log_message or message)
        )
        self.jupyterhub_message = message
        self.jupyterhub_html_message = f"<p>{html.escape(message)}</p>"


def _percent(text: str) -> str:
    # Tornado treats the message as a format string.
    return text.replace("%", "%%")


def start_problem(error: EngineError, image: str) -> WorkspaceProblem:
    """Why a start failed."""
    if error.kind is Kind.UNREACHABLE:
        message = (
            "Docker Engine is not answering, so your workspace cannot be started now. Nothing was lost: "
            "your files and anything that is running stay as they are. Try again in a minute; "
            "if it goes on, tell an administrator."
        )
        return WorkspaceProblem(
            message, reason="docker-unreachable", log_message=f"{message} [{error.detail}]"
        )
    if error.kind is Kind.NO_SPACE:
        message = (
            "There is no disk space left on the machine that runs the workspaces. Nothing was lost. "
            "An administrator has to free some, for example with: docker system df, docker image prune."
        )
        return WorkspaceProblem(
            message, reason="no-space", status_code=507, log_message=f"{message} [{error.detail}]"
        )
    if error.kind is Kind.OVERLAP:
        message = (
            "No free network was found for your workspace. Nothing was lost; try again. "
            "If it goes on, an administrator has to give docker.subnetPool another range."
        )
        return WorkspaceProblem(message, reason="no-subnet", log_message=f"{message} [{error.detail}]")
    message = (
        "Docker Engine refused to start your workspace. Your files are safe. "
        f"It said: {error.detail}. An administrator can find more in the hub's log."
    )
    return WorkspaceProblem(message, reason="docker-refused", status_code=500)


def image_missing(image: str) -> WorkspaceProblem:
    """The image is not on this engine."""
    return WorkspaceProblem(
        f"The workspace image {image} is not on this machine. An administrator has to build it "
        "with: make image (or load it with docker load, or set workspace.image to one that is there).",
        reason="image-missing",
    )


def too_many_running(limit: int) -> WorkspaceProblem:
    """workspace.maxRunning is reached."""
    return WorkspaceProblem(
        f"All {limit} places for running workspaces are taken. Nothing was lost: "
        "stop another workspace of yours, or try again when somebody else has stopped theirs.",
        reason="too-many-running",
        status_code=429,
    )


def stop_problem(error: EngineError) -> WorkspaceProblem:
    """Why a stop failed; the workspace goes on being recorded as running."""
    if error.kind is Kind.UNREACHABLE:
        message = (
            "Docker Engine is not answering, so the workspace could not be stopped. "
            "It is still recorded as running; try again in a minute."
        )
    else:
        message = (
            "The workspace could not be stopped and is still recorded as running. "
            f"Docker said: {error.detail}"
        )
    return WorkspaceProblem(message, reason="stop-failed", log_message=f"{message} [{error.detail}]")


def left_alone() -> WorkspaceProblem:
    """JupyterHub asked to stop a workspace that was running before this start; it holds sessions."""
    return WorkspaceProblem(
        "The workspace was running already and is left alone, because it may hold sessions. "
        "Its page comes back as soon as the proxy does.",
        reason="left-alone",
    )


def options_refused(sentences: str) -> WorkspaceProblem:
    """What was chosen for the workspace is not allowed."""
    return WorkspaceProblem(
        f"{sentences} Nothing was started or changed; choose again, or start without options.",
        reason="options",
        status_code=422,
    )


def egress_not_possible(policy: str) -> WorkspaceProblem:
    """The network cannot be closed on this hub."""
    return WorkspaceProblem(
        f"This workspace is to have the network policy {policy!r}, and this hub cannot filter networks. It "
        "was not started, and your files are safe. An administrator has to run the egress helper "
        "(persistent-terminal-hub egress-helper, as root); or choose the policy 'internet'.",
        reason="egress-not-possible",
    )


def egress_failed(problem: str) -> WorkspaceProblem:
    """The filter could not be put in place, so nothing may run behind it."""
    message = (
        "The network filter of your workspace could not be put in place, so it was not started. Your files "
        "are safe. Try again in a minute; if it goes on, an administrator has to look at the egress helper."
    )
    return WorkspaceProblem(message, reason="egress-failed", log_message=f"{message} [{problem}]")


def runtime_missing(runtime: str, known: list[str]) -> WorkspaceProblem:
    """workspace.runtime names one that the engine does not have."""
    return WorkspaceProblem(
        f"The Docker Engine does not know the container runtime {runtime!r} that the setting "
        f"workspace.runtime names; it knows "
        f"{', '.join(known)}. An administrator has to install it or change the setting.",
        reason="runtime-missing",
    )
