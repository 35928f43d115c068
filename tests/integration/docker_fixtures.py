"""A tiny workspace image, and what the Docker tests share.

The image keeps the contract of the real one (waits for the secrets file, deletes it, serves HTTP, takes
a new file at SIGHUP) and starts in a tenth of a second.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import APIError, DockerException, ImageNotFound

from persistent_terminal_hub.hub.object_names import LABEL_HUB
from persistent_terminal_hub.settings import Settings

BASE = "debian:bookworm-slim"
DOCKERFILE = f"""
FROM {BASE}
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends python3-minimal \
    libpython3-stdlib tini && rm -rf /var/lib/apt/lists/*
RUN install -d -o 1000 -g 1000 -m 0700 /run/pth && install -d -o 1000 -g 1000 -m 0755 /workspace
COPY server.py /server.py
USER 1000:1000
WORKDIR /workspace
ENTRYPOINT ["tini", "-g", "--"]
CMD ["python3", "-u", "/server.py"]
"""
SERVER = """
import hashlib, http.server, json, os, signal, time
PATH = "/run/pth/secrets.json"
env, taken = {}, 0

def take(*_):
    global env, taken
    while True:
        try:
            with open(PATH) as file:
                env = json.load(file)["env"]
            os.unlink(PATH)
            taken += 1
            return
        except FileNotFoundError:
            if taken:
                return
            time.sleep(0.05)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        token = hashlib.sha256(env["JUPYTERHUB_API_TOKEN"].encode()).hexdigest()
        names = sorted(env)
        body = json.dumps({"token": token, "taken": taken, "names": names, "born": BORN}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

BORN = time.time()
signal.signal(signal.SIGHUP, take)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print("waiting for secrets")
take()
print("serving")
http.server.ThreadingHTTPServer(("0.0.0.0", 8888), Handler).serve_forever()
"""
TINY_IMAGE = "pth-test/tiny:" + hashlib.sha256((DOCKERFILE + SERVER).encode()).hexdigest()[:12]


def engine_or_none() -> docker.APIClient | None:
    """A client of the engine of this machine, if one answers."""
    try:
        client = docker.APIClient(version="auto", timeout=60)
        client.ping()
    except DockerException:
        return None
    return client


def build_tiny(client: docker.APIClient) -> str:
    """Build the tiny image unless it is there; return its name."""
    try:
        client.inspect_image(TINY_IMAGE)
        return TINY_IMAGE
    except ImageNotFound:
        pass
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, text in (("Dockerfile", DOCKERFILE), ("server.py", SERVER)):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text.encode()), 0o644
            tar.addfile(info, io.BytesIO(text.encode()))
    context.seek(0)
    output = list(
        client.build(fileobj=context, custom_context=True, tag=TINY_IMAGE, rm=True, forcerm=True, decode=True)
    )
    errors = [entry["error"] for entry in output if "error" in entry]
    if errors:
        raise RuntimeError(f"The tests' image could not be built: {errors[-1]}")
    return TINY_IMAGE


def sweep(client: docker.APIClient, hub_id: str) -> None:
    """Remove everything that carries this hub's label."""
    filters = {"label": [f"{LABEL_HUB}={hub_id}"]}
    for entry in client.containers(all=True, filters=filters):
        client.remove_container(entry["Id"], force=True, v=True)
    for entry in client.networks(filters=filters):
        with contextlib.suppress(APIError):
            client.remove_network(entry["Id"])
    for entry in client.volumes(filters=filters)["Volumes"] or []:
        client.remove_volume(entry["Name"], force=True)


@pytest.fixture(scope="session")
def engine() -> docker.APIClient:
    client = engine_or_none()
    if client is None:
        pytest.skip("no Docker Engine answers")
    return client


@pytest.fixture(scope="session")
def tiny_image(engine: docker.APIClient) -> str:
    return build_tiny(engine)


@pytest.fixture
def hub_id(engine: docker.APIClient) -> Iterator[str]:
    name = uuid.uuid4().hex[:12]
    yield name
    sweep(engine, name)


def settings_for(data_dir: Path, image: str, **docker_settings: Any) -> Settings:
    return Settings.model_validate(
        {
            "data_dir": data_dir,
            "workspace": {
                "backend": "docker",
                "image": image,
                "memory": "128M",
                "cpu": 1,
                "pids": 64,
                "stop_timeout_seconds": 2,
                "start_timeout_seconds": 30,
            },
            # Not the default range: the tests of other rooms may be using that one at the same time.
            "docker": {"subnet_pool": "10.231.0.0/16", "subnet_prefix": 29, **docker_settings},
        }
    )
