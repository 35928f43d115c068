"""`persistent-terminal-hub serve`: checks everything, then supervises the proxy and the hub."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from persistent_terminal_hub.hub import backend, egress_child, preflight
from persistent_terminal_hub.hub.addresses import hub_host, public_bind_url
from persistent_terminal_hub.hub.control_service import control_environment
from persistent_terminal_hub.hub.data_dir import DataDir, DataDirError, DataDirLocked
from persistent_terminal_hub.hub.oidc_discovery import DiscoveryError, discover
from persistent_terminal_hub.hub.proc import is_alive
from persistent_terminal_hub.hub.supervisor import ChildSpec, Supervisor
from persistent_terminal_hub.settings import (
    Settings,
    SettingsError,
    load_settings,
    problems_for_serving,
    warnings_of,
)
from persistent_terminal_hub.shared_files import share_dir

#: A killed supervisor's hub needs a moment to stop; a new one waits this long for it.
TAKE_OVER_SECONDS = 30.0


def say(text: str) -> None:
    """One line on the console, flushed, so that it is seen in order with the children's."""
    print(text, flush=True)


def complain(problems: list[str]) -> int:
    """Print why nothing was started."""
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr, flush=True)
    return 1


@contextlib.asynccontextmanager
async def step(doing: str) -> AsyncIterator[None]:
    """Say what is being done when it takes longer than two seconds."""

    async def tell() -> None:
        began = time.monotonic()
        pause = 2.0
        while True:
            await asyncio.sleep(pause)
            say(f"{doing} ... ({time.monotonic() - began:.0f} s)")
            pause = 10.0

    telling = asyncio.create_task(tell())
    try:
        yield
    finally:
        telling.cancel()


def serve(config: Path | None = None, reset_admin_password: bool = False) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        settings = load_settings(config)
    except SettingsError as error:
        return complain(str(error).splitlines())
    if problems := problems_for_serving(settings):
        return complain(problems)
    try:
        return asyncio.run(_serve(settings, config, reset_admin_password))
    except (DataDirError, DiscoveryError) as error:
        return complain([str(error)])


async def _serve(settings: Settings, config: Path | None, reset_admin_password: bool) -> int:
    for warning in warnings_of(settings):
        say(f"warning: {warning}")
    if warning := preflight.nobody_allowed(settings):
        say(f"warning: {warning}")
    data = DataDir(settings.data_dir)
    data.prepare()
    async with step("Waiting until the data directory is free"):
        lock = await _lock(data)
    egress = egress_child.FilterPlan(False)
    async with step("Asking the Docker Engine"):
        choice = await asyncio.to_thread(backend.resolve, settings, data)
    say(f"{'warning: ' if choice.warning else ''}{choice.reason}")
    if choice.backend == "docker":
        if missing := await asyncio.to_thread(backend.problem_with_image, settings):
            say(f"warning: {missing}")
        if mortal := await asyncio.to_thread(backend.problem_with_live_restore, settings.docker):
            say(f"warning: {mortal}")
        egress = await egress_child.plan(settings, data)
        if egress.warning:
            say(f"warning: {egress.warning}")
    if choice.backend == "process" and os.geteuid() == 0:
        say("warning: workspaces will run as root: whoever has a terminal rules this machine.")
    proxy_command, no_proxy = preflight.find_proxy()
    problems = [
        *([no_proxy] if no_proxy else []),
        *filter(None, [preflight.problem_with_disk(data.path)]),
        *preflight.problems_with_ports(preflight.ports_of(settings, hub_host(settings, choice.backend))),
    ]
    if problems:
        return complain(problems)
    if settings.auth.issuer and settings.auth.provider != "local":
        async with step(f"Asking {settings.auth.issuer} for its endpoints"):
            endpoints = await asyncio.to_thread(discover, settings.auth.issuer, data.discovery_cache)
        if endpoints.warning:
            say(f"warning: {endpoints.warning}")
    return await _run(settings, config, data, choice, proxy_command, lock, reset_admin_password, egress.start)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _lock(data: DataDir) -> int:
    deadline = time.monotonic() + TAKE_OVER_SECONDS
    while True:
        try:
            return data.lock()
        except DataDirLocked as error:
            # Its supervisor is dead, its hub still holds the lock and is stopping.
            if error.pid and not is_alive(error.pid) and time.monotonic() < deadline:
                await asyncio.sleep(0.2)
                continue
            raise


async def _run(
    settings: Settings,
    config: Path | None,
    data: DataDir,
    choice: backend.Choice,
    proxy_command: list[str],
    lock: int,
    reset_admin_password: bool,
    egress_helper: bool,
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    password_pipe, password_end = os.pipe()
    first_password: list[str] = []
    _collect_lines(password_pipe, first_password)

    supervisor = Supervisor(say)
    hub_origin = f"http://{hub_host(settings, choice.backend)}:{settings.server.hub_port}"
    proxy = supervisor.start(proxy_spec(settings, data, proxy_command, hub_origin, lock))
    environment = {
        **os.environ,
        "PTH_DATA_DIR": str(data.path),
        "PTH_LOCK_FD": str(lock),
        "PTH_FIRST_PASSWORD_FD": str(password_end),
        "PYTHONUNBUFFERED": "1",
    }
    if config is not None:
        environment["PTH_CONFIG"] = os.path.abspath(config)  # noqa: ASYNC240, PTH100  (touches no disk)
    if egress_helper:
        environment |= egress_child.REQUIRE
        supervisor.start(egress_child.helper_spec(environment, data.hub_id()))
    if reset_admin_password:
        environment["PTH_RESET_ADMIN_PASSWORD"] = "1"  # noqa: S105  (a switch)
    hub = supervisor.start(hub_spec(settings, environment, hub_origin, (lock, password_end)))
    if settings.culler.enabled:
        supervisor.start(culler_spec(settings, data, environment, hub_origin))
    if settings.control.enabled:
        supervisor.start(control_spec(settings, data, environment, hub_origin))

    async def both_ready() -> None:
        await proxy.ready.wait()
        await hub.ready.wait()

    stopping = asyncio.create_task(_wait(stop))
    ready = asyncio.create_task(both_ready())
    try:
        await asyncio.wait({stopping, ready}, return_when=asyncio.FIRST_COMPLETED)
        # A restarted hub must not set another password.
        environment.pop("PTH_RESET_ADMIN_PASSWORD", None)
        if not stop.is_set():
            say(welcome(settings, choice, first_password))
        await stopping
    finally:
        ready.cancel()
        await supervisor.stop()
    say("Stopped. Workspaces that were running go on; the next `serve` finds them again.")
    return 0


def proxy_spec(
    settings: Settings, data: DataDir, command: list[str], hub_origin: str, lock: int
) -> ChildSpec:
    """How the proxy is started. Its token travels in its environment, never in its arguments."""
    server = settings.server
    api = f"http://127.0.0.1:{server.proxy_api_port}"
    argv = [
        *command,
        *("--ip", server.host, "--port", str(server.port)),
        *("--api-ip", "127.0.0.1", "--api-port", str(server.proxy_api_port)),
        # The hub adds this route too; this way it also exists before the hub is up.
        *("--default-target", hub_origin),
        # Not --error-target, which is the hub: it is when the hub is away that people need a page.
        *("--error-path", str(share_dir() / "proxy-pages")),
        *("--log-level", "info" if settings.log_level == "DEBUG" else "warn"),
        *(["--host-routing"] if server.subdomains else []),
    ]
    if server.tls:
        argv += ["--ssl-key", str(server.tls.key_file), "--ssl-cert", str(server.tls.cert_file)]
    token = data.proxy_token()
    environment = {key: os.environ[key] for key in ("HOME", "LANG", "LC_ALL", "TZ") if key in os.environ}
    environment["PATH"] = preflight.node_path()
    environment["CONFIGPROXY_AUTH_TOKEN"] = token

    async def is_ready() -> bool:
        return await _answers(HTTPRequest(f"{api}/api/routes", headers={"Authorization": f"token {token}"}))

    async def give_routes_back() -> None:
        request = HTTPRequest(
            f"{hub_origin}{server.base_url}hub/api/proxy",
            method="POST",
            body="",
            headers={"Authorization": f"token {data.supervisor_token()}"},
        )
        # A hub that is away as well gives the routes back by itself when it starts.
        for _ in range(60):
            if await _answers(request):
                return
            await asyncio.sleep(1)

    return ChildSpec("proxy", argv, environment, (lock,), is_ready, give_routes_back)


def hub_spec(
    settings: Settings, environment: dict[str, str], hub_origin: str, pass_fds: tuple[int, ...]
) -> ChildSpec:
    """How the hub is started; it is ready when it answers through the proxy."""
    config_file = share_dir() / "jupyterhub_config.py"
    if not config_file.exists():
        config_file = Path(__file__).resolve().parents[2] / "jupyterhub_config.py"
    host = settings.server.host
    local = "127.0.0.1" if host in ("0.0.0.0", "") else "[::1]" if host == "::" else host  # noqa: S104
    scheme = "https" if settings.server.tls else "http"
    path = f"{settings.server.base_url}hub/health"
    public = f"{scheme}://{local}:{settings.server.port}{path}"
    # It asks itself on its own address; the certificate names another.
    context = ssl._create_unverified_context() if settings.server.tls else None  # noqa: S323

    async def is_ready() -> bool:
        # Directly first: the proxy would log an error for each question before the hub listens.
        direct = await _answers(HTTPRequest(hub_origin + path))
        return direct and await _answers(HTTPRequest(public, ssl_options=context))

    argv = [sys.executable, "-m", "persistent_terminal_hub.hub.run_jupyterhub", "-f", str(config_file)]
    return ChildSpec("hub", argv, environment, pass_fds, is_ready)


def _of_a_service(environment: dict[str, str]) -> dict[str, str]:
    """The hub's environment without what is the hub's alone."""
    left_out = ("PTH_LOCK_FD", "PTH_FIRST_PASSWORD_FD", "PTH_RESET_ADMIN_PASSWORD")
    return {name: value for name, value in environment.items() if name not in left_out}


def control_spec(
    settings: Settings, data: DataDir, environment: dict[str, str], hub_origin: str
) -> ChildSpec:
    """How the control service is started. It answers 503 while the hub is away."""
    env = {**_of_a_service(environment), **control_environment(settings, data, hub_origin)}
    return ChildSpec("control", [sys.executable, "-m", "persistent_terminal_hub.control"], env)


def culler_spec(settings: Settings, data: DataDir, environment: dict[str, str], hub_origin: str) -> ChildSpec:
    """How the culler is started. It waits for the hub by itself, and goes on while the hub is away."""
    env = {
        **_of_a_service(environment),
        "PTH_HUB_ID": data.hub_id(),
        "JUPYTERHUB_API_URL": f"{hub_origin}{settings.server.base_url}hub/api",
        "JUPYTERHUB_API_TOKEN": data.culler_token(),
    }
    return ChildSpec("culler", [sys.executable, "-m", "persistent_terminal_hub.culler"], env)


async def _answers(request: HTTPRequest) -> bool:
    request.connect_timeout = request.request_timeout = 5
    try:
        await AsyncHTTPClient().fetch(request)
    except (HTTPClientError, OSError):
        return False
    return True


def _collect_lines(fd: int, into: list[str]) -> None:
    """Read lines that the hub writes to the pipe, whenever they come."""
    os.set_blocking(fd, False)

    def readable() -> None:
        with contextlib.suppress(BlockingIOError):
            into.extend(os.read(fd, 4096).decode().split())

    asyncio.get_running_loop().add_reader(fd, readable)


def public_url(settings: Settings) -> str:
    """What to type into a browser on this machine."""
    if settings.server.host in ("0.0.0.0", "::"):  # noqa: S104
        return public_bind_url(settings).replace(f"//{_bracketed(settings.server.host)}:", "//localhost:")
    return public_bind_url(settings)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def welcome(settings: Settings, choice: backend.Choice, first_password: list[str]) -> str:
    """The block that ends the start: where to go, and the first password, once."""
    lines = [f"Persistent Terminal Hub is ready:  {public_url(settings)}"]
    if first_password:
        lines += [
            "",
            "First administrator (shown this once; change it after logging in):",
            "    user:      admin",
            f"    password:  {first_password[-1]}",
        ]
        first_password.clear()
    if choice.backend == "process":
        lines += ["", f"WARNING: {backend.NOT_ISOLATED}"]
    lines += ["", "Ctrl-C stops the hub and leaves running workspaces alone."]
    rule = "=" * 78
    return "\n".join(["", rule, *lines, rule])
