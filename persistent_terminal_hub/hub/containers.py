"""What Docker knows of one workspace: find it, make it, end it (blocking: call it in a worker thread).

The rule of this file: a container is removed only after Docker itself said that it does not run.
``remove`` never forces, so Docker refuses when it was started in between.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Any

import docker
from docker.errors import APIError, NotFound

from persistent_terminal_hub.hub import networks
from persistent_terminal_hub.hub.container_spec import ContainerSpec
from persistent_terminal_hub.hub.docker_client import EngineError, Kind
from persistent_terminal_hub.hub.object_names import LABEL_HUB, LABEL_WORKSPACE, label_filters

RUNNING = ("running", "paused", "restarting")


def is_running(inspected: Mapping[str, Any]) -> bool:
    """Whether the container lives, paused or being restarted included."""
    state = inspected["State"]
    return bool(state.get("Running") or state.get("Paused") or state.get("Restarting"))


def status_of(inspected: Mapping[str, Any]) -> str:
    """How a stopped container ended, for the log."""
    state = inspected["State"]
    out_of_memory = ", out of memory" if state.get("OOMKilled") else ""
    error = f", {state['Error']}" if state.get("Error") else ""
    return f"exit status {state.get('ExitCode')}{out_of_memory}{error}, ended {state.get('FinishedAt')}"


def find(client: docker.APIClient, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """This workspace's containers by their labels, running ones first."""
    # The filter matches "label=" with an empty value too, so compare exactly.
    found = []
    for entry in client.containers(all=True, filters=label_filters(labels)):
        if all((entry.get("Labels") or {}).get(name) == value for name, value in labels.items()):
            with contextlib.suppress(NotFound):
                found.append(dict(client.inspect_container(entry["Id"])))
    return sorted(found, key=lambda inspected: not is_running(inspected))


def running_names(client: docker.APIClient, hub_id: str) -> set[str]:
    """The names of all running workspaces of this hub."""
    filters = {**label_filters({LABEL_HUB: hub_id}), "status": list(RUNNING)}
    return {
        entry["Names"][0].lstrip("/")
        for entry in client.containers(filters=filters)
        if LABEL_WORKSPACE in (entry.get("Labels") or {})
    }


def remove_stopped(client: docker.APIClient, container: str) -> None:
    """Remove a container that does not run; its named volume stays. Docker refuses if it does run."""
    try:
        client.remove_container(container, v=True)  # v: only what the image declared without a name
    except NotFound:
        return
    except APIError as error:
        if error.status_code == 409 and "already in progress" in str(error.explanation):
            return
        raise


def create(client: docker.APIClient, spec: ContainerSpec, labels: Mapping[str, str]) -> str:
    """Create the volume, if missing, and the container; return its id."""
    client.create_volume(spec.names.volume, labels=dict(labels))
    return str(client.create_container(**spec.create_kwargs())["Id"])


def end(client: docker.APIClient, container: str, grace: int, network: str) -> None:
    """Stop and remove a container and its network. Raises when Docker did not stop it."""
    with contextlib.suppress(APIError):
        # A frozen process cannot take a signal. Not paused, or gone: both are fine.
        client.unpause(container)
    try:
        client.stop(container, timeout=grace)
    except NotFound:
        pass
    else:
        remove_stopped(client, container)
    discard_network(client, network)


def discard_network(client: docker.APIClient, network: str) -> None:
    """Remove the network if nothing uses it; what stays is used or removed at the next start."""
    with contextlib.suppress(APIError):
        networks.remove_network(client, network)


def discard_fresh(client: docker.APIClient, container: str | None, network: str | None) -> None:
    """Undo what one start attempt made. Only for objects that the very same attempt created."""
    if container:
        with contextlib.suppress(APIError):
            client.remove_container(container, v=True, force=True)
    if network:
        discard_network(client, network)


def last_words(client: docker.APIClient, container: str, lines: int = 20) -> str:
    """The end of the container's output, for the hub's log; empty if there is none."""
    try:
        return bytes(client.logs(container, tail=lines)).decode("utf-8", "replace").strip()
    except APIError:
        return ""


def address_of(inspected: Mapping[str, Any], network: str) -> str:
    """The container's address in its own network; raises EngineError if it has none."""
    endpoints = inspected["NetworkSettings"]["Networks"] or {}
    address = (endpoints.get(network) or {}).get("IPAddress")
    if not address:
        raise EngineError(Kind.FAILED, "the container has no address in its network")
    return str(address)


def delete_for_good(
    client: docker.APIClient, labels: Mapping[str, str], network: str, volume: str, grace: int
) -> None:
    """Remove a workspace with its files, by its owner's or an administrator's wish."""
    for inspected in find(client, labels):
        end(client, inspected["Id"], grace, network)
    discard_network(client, network)
    networks.remove_volume(client, volume)


def make_network(
    client: docker.APIClient, name: str, labels: Mapping[str, str], pool: IPv4Network, prefix: int
) -> tuple[IPv4Network, bool]:
    """The workspace's network, with what an earlier start may have left behind in its place removed."""
    try:
        return networks.ensure_network(client, name, labels, pool, prefix)
    except EngineError as error:
        if error.kind is not Kind.FAILED:
            raise
        networks.remove_network(client, name)
        return networks.ensure_network(client, name, labels, pool, prefix)
