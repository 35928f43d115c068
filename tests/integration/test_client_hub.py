"""From the hub's address to a session: a real hub and proxy, workspaces as plain processes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
from jupyterhub.httpclient import JupyterHubHTTPClient

from persistent_terminal_hub.client import errors
from persistent_terminal_hub.client.api import Hub
from persistent_terminal_hub.client.place import clean_url
from persistent_terminal_hub.server.hub_keys import HubKeys
from persistent_terminal_hub.signing_keys import KeyStore
from persistent_terminal_hub.tokens import Purpose, issue
from tests.integration.client_fixtures import ATTACH
from tests.integration.hub_fixtures import Browser, Serve
from tests.integration.keeper_fixtures import ROOT
from tests.integration.test_process_backend import workspace_processes


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    folder = tmp_path_factory.mktemp("client")
    # What the data files of an installed wheel do: enable the extension in the workspaces' servers. Of the
    # environment, the process backend passes on PYTHONPATH, but not JUPYTER_CONFIG_PATH.
    enabled = ROOT / "etc" / "jupyter"
    (folder / "sitecustomize.py").write_text(
        f"import os\nos.environ['JUPYTER_CONFIG_PATH'] = {str(enabled)!r}\n"
    )
    serve = Serve(
        folder / "data",
        "workspace: {backend: process, stopTimeoutSeconds: 5}\n",
        base_url="/pre-fix/",
        environment={"PYTHONPATH": f"{folder}:{ROOT}"},
    )
    serve.start().wait_ready()
    yield serve
    serve.stop()
    for pid in workspace_processes(serve):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def token(hub: Serve) -> str:
    browser = Browser(hub)
    browser.log_in("admin", hub.password)
    return str(browser.api("POST", "users/admin/tokens", json={"note": "client"}).json()["token"])


async def test_find_start_create_and_attach(hub: Serve, token: str) -> None:
    async with Hub(clean_url(hub.url), token) as api:
        assert await api.whoami() == "admin"
        with pytest.raises(errors.NoSuchWorkspace):
            await api.workspace("lab")
        workspace = await api.workspace("lab", start=True, patience=60)
        assert [(item.name, item.ready) for item in await api.workspaces() if item.name] == [("lab", True)]
    async with workspace:
        await workspace.ensure("work")
        async with await workspace.attach("work") as session:
            await session.send("echo through-$((40+2))-the-proxy\n")
            await session.wait_for("through-42-the-proxy", 10)
    async with Hub(clean_url(hub.url), "0" * 32) as api:
        with pytest.raises((errors.NotYours, errors.SignInAgain)):
            await api.whoami()


async def test_the_workspace_knows_its_names_and_the_hub_publishes_its_keys(hub: Serve, token: str) -> None:
    async with Hub(clean_url(hub.url), token) as api:
        workspace = await api.workspace("lab", start=True, patience=60)
    hub_id = (hub.data / "hub-id").read_text().strip()
    async with workspace:
        await workspace.ensure("names")
        async with await workspace.attach("names") as session:
            await session.send("echo $PTH_HUB_ID:$PTH_WORKSPACE_ID:$PTH_STATE_DIR.\n")
            await session.wait_for(f"{hub_id}:admin/lab:", 10)
            await session.wait_for("/.persistent-terminal-hub.", 5)
            await asyncio.sleep(1)  # the first token comes after what the person waits for
            assert session.token is not None
    # As a workspace asks: directly, without a cookie; what the store of the hub signs is believed there.
    address = f"http://127.0.0.1:{hub.ports[1]}/pre-fix/hub/api"
    keys = HubKeys.from_environment(
        {"JUPYTERHUB_API_URL": address, "PTH_HUB_ID": hub_id, "PTH_WORKSPACE_ID": "admin/lab"}
    )
    assert keys is not None
    signed = issue(
        KeyStore(hub.data / "keys").signing(), Purpose.UNLOCK,
        issuer=f"hub:{hub_id}", audience="workspace:admin/lab", subject="admin", lifetime=60,
    )  # fmt: skip
    assert (await keys.verify(signed, Purpose.UNLOCK, subject="admin")).subject == "admin"
    await JupyterHubHTTPClient.loop_instance().close()


async def test_attach_finds_it_too(hub: Serve, token: str) -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith("PTH_")}
    env |= {"PYTHONPATH": str(ROOT), "PTH_HUB_URL": hub.url + "hub/home", "PTH_TOKEN": token}
    process = await asyncio.create_subprocess_shell(
        f"exec {ATTACH} --create admin/lab:piped", env=env, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, said = await asyncio.wait_for(process.communicate(b"echo in-$PTH_SESSION\nexit 4\n"), 30)
    assert process.returncode == 4, said
    assert b"in-piped" in out
