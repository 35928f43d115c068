"""The workspace image in a container as hardened as the spawner's: what the user can and cannot do in it."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.docker

IMAGE = os.environ.get("PTH_TEST_IMAGE", "persistent-terminal-hub/workspace:latest")
HARDENED = [
    "--user=1000:1000",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--read-only",
    "--tmpfs=/tmp:mode=1777",
    "--tmpfs=/run/pth:uid=1000,gid=1000,mode=0700",
    "--pids-limit=256",
    "--memory=1g",
    # The image must do all of this with no network at all.
    "--network=none",
    "--label=pth.test=1",
]
# Stands in for the keeper, so that these tests are about the image only: pth-start becomes it at last.
FAKE_KEEPER = """
import json, os, sys, time
with open("/run/pth/started.tmp", "w") as file:
    isolated = sys.flags.isolated
    json.dump({"arguments": sys.argv[1:], "isolated": isolated, "environment": dict(os.environ)}, file)
os.rename("/run/pth/started.tmp", "/run/pth/started")
time.sleep(600)
"""


def docker(*arguments: str, check: bool = True) -> str:
    """Run docker; its standard output without the last newline."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60)
    if check and done.returncode != 0:
        pytest.fail(f"docker {' '.join(arguments)} gave {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout.rstrip("\n")


class Workspace:
    """One hardened container with its volume."""

    def __init__(self, directory: Path, image: str = IMAGE) -> None:
        self.name = f"pth-test-image-{uuid.uuid4().hex[:8]}"
        self.image = image
        self.keeper = directory / "keeper"
        self.keeper.mkdir(exist_ok=True)
        (self.keeper / "__init__.py").touch()
        (self.keeper / "__main__.py").write_text(FAKE_KEEPER)
        find = "echo /opt/pth/lib/python3*/site-packages/persistent_terminal_hub/keeper"
        self.keeper_path = docker("run", "--rm", "--network=none", "--entrypoint=sh", image, "-c", find)
        docker("volume", "create", "--label=pth.test=1", self.name)

    def start(self) -> None:
        """Start the container and wait until its start script is done."""
        mounts = [f"--volume={self.name}:/workspace", f"--volume={self.keeper}:{self.keeper_path}:ro"]
        docker("run", "--detach", f"--name={self.name}", *HARDENED, *mounts, self.image)
        deadline = time.monotonic() + 60
        while not docker("exec", self.name, "cat", "/run/pth/started", check=False):
            if time.monotonic() > deadline:
                pytest.fail(f"the start script did not end: {docker('logs', self.name)}")
            time.sleep(0.1)

    def sh(self, script: str, *, check: bool = True) -> str:
        """Run a script in a login shell, as a terminal does."""
        return docker("exec", self.name, "bash", "-lc", script, check=check)

    def put(self, file: Path) -> str:
        """Send a file through standard input to /workspace; returns its path there."""
        target = f"/workspace/{file.name}"
        command = ["docker", "exec", "-i", self.name, "sh", "-c", f"cat > {target}"]
        with file.open("rb") as data:
            subprocess.run(command, stdin=data, check=True, timeout=60)
        return target

    def stop(self) -> None:
        """Remove the container, keep the volume."""
        docker("rm", "--force", self.name, check=False)

    def remove(self) -> None:
        """Remove everything."""
        self.stop()
        docker("volume", "rm", "--force", self.name, check=False)


@pytest.fixture(scope="module")
def engine() -> None:
    """Skip unless an engine answers and the image was built."""
    try:
        answer = subprocess.run(
            ["docker", "image", "inspect", IMAGE], capture_output=True, text=True, timeout=30
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        pytest.skip("no Docker Engine")
    if answer.returncode != 0:
        pytest.skip(f"no Docker Engine, or no image {IMAGE} (make image): {answer.stderr.strip()}")


@pytest.fixture(scope="module")
def workspace(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A running workspace that the tests of this file share."""
    running = Workspace(tmp_path_factory.mktemp("image"))
    try:
        running.start()
        yield running
    finally:
        running.remove()


def make_wheel(directory: Path, version: str) -> Path:
    """A tiny wheel with a command, written by hand: building one would need an index."""
    wheel = directory / f"pth_tiny-{version}-py3-none-any.whl"
    info = f"pth_tiny-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pth_tiny.py", f"def main():\n    print('tiny {version}')\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: pth-tiny\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/entry_points.txt", "[console_scripts]\npth-tiny = pth_tiny:main\n")
        names = [
            "pth_tiny.py",
            f"{info}/METADATA",
            f"{info}/WHEEL",
            f"{info}/entry_points.txt",
            f"{info}/RECORD",
        ]
        archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in names))
    return wheel


def test_the_user_has_no_rights(workspace: Workspace) -> None:
    """uid 1000, no capability, no way to new privileges, a root that cannot be written."""
    assert workspace.sh("id -un; id -u; id -g") == "user\n1000\n1000"
    status = workspace.sh("cat /proc/self/status")
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    for directory in ("/", "/usr/local/bin", "/opt/pth", "/etc", "/home"):
        # The root is the read-only one: that a directory belongs to root would already refuse.
        assert workspace.sh(f"touch {directory}/x 2>&1", check=False).endswith(
            ("Read-only file system", "Permission denied")
        )
    assert docker("exec", "--user=0", workspace.name, "sh", "-c", "touch /x 2>&1; true").endswith(
        "Read-only file system"
    )
    assert workspace.sh("touch /tmp/x /workspace/x && rm /workspace/x && echo ok") == "ok"
    assert workspace.sh("stat -c '%u %a' /run/pth") == "1000 700"


def test_the_keeper_is_started_without_the_users_files_on_its_path(workspace: Workspace) -> None:
    """tini, then the keeper in isolated mode, then the server's command."""
    started = json.loads(workspace.sh("cat /run/pth/started"))
    server = ["/opt/pth/bin/python", "-I", "-m", "persistent_terminal_hub.server.singleuser"]
    assert started["arguments"] == ["--wait-for-secrets", "--grace", "7", "--", *server]
    assert started["isolated"] == 1
    assert started["environment"]["HOME"] == "/workspace"
    assert workspace.sh("cat /proc/1/comm") == "tini"


def test_tools_are_there(workspace: Workspace) -> None:
    """What a data team expects in a terminal."""
    for program in (
        "git",
        "ssh",
        "curl",
        "less",
        "vim",
        "nano",
        "ps",
        "htop",
        "tmux",
        "node",
        "npm",
        "npx",
        "pip",
    ):
        assert workspace.sh(f"command -v {program}"), program
    assert workspace.sh("tmux -V").startswith("tmux ")
    assert workspace.sh("locale charmap") == "UTF-8"
    # Marks of prompts and commands, beside what the user has there (tests/unit/test_bash_marks.py).
    hooks = workspace.sh("PTH_SESSION_ID=s TERM=xterm bash -lic 'declare -p PROMPT_COMMAND' 2>/dev/null")
    assert '[0]="history -a"' in hooks and '[100]="__pth_marks"' in hooks
    assert workspace.sh("echo $PATH").startswith(
        "/workspace/.venv/bin:/workspace/.npm-global/bin:/workspace/.local/bin:"
    )


def test_pip_installs_into_the_volume(workspace: Workspace, tmp_path: Path) -> None:
    """`pip install` works without flags, and its commands are on PATH."""
    wheel = workspace.put(make_wheel(tmp_path, "1.0"))
    workspace.sh(f"pip install --quiet --no-index {wheel}")
    assert workspace.sh("pth-tiny; command -v pth-tiny") == "tiny 1.0\n/workspace/.venv/bin/pth-tiny"
    assert workspace.sh("python -c 'import sys; print(sys.prefix)'") == "/workspace/.venv"
    # The server's own packages are nobody's business in a terminal.
    assert "ModuleNotFoundError" in workspace.sh("python -c 'import jupyterlab' 2>&1", check=False)


def test_npm_installs_into_the_volume(workspace: Workspace, tmp_path: Path) -> None:
    """`npm install -g` works and puts its commands on PATH; so does a local install."""
    package = {"name": "pth-tiny-js", "version": "1.0.0", "bin": {"pth-tiny-js": "cli.js"}}
    workspace.sh("mkdir -p /workspace/tiny-js")
    for name, text in {
        "package.json": json.dumps(package),
        "cli.js": "#!/usr/bin/env node\nconsole.log('js');\n",
    }.items():
        (tmp_path / name).write_text(text)
        source = workspace.put(tmp_path / name)
        workspace.sh(f"mv {source} /workspace/tiny-js/")
    install = "npm pack --silent && npm install --silent --offline -g ./pth-tiny-js-1.0.0.tgz"
    workspace.sh(f"cd /workspace/tiny-js && {install}")
    assert workspace.sh("pth-tiny-js; command -v pth-tiny-js") == "js\n/workspace/.npm-global/bin/pth-tiny-js"


def test_jupyterlab_is_there_and_notebooks_use_the_users_packages(
    workspace: Workspace, tmp_path: Path
) -> None:
    """The server is importable, and its kernel is the user's Python with the user's packages first."""
    python = "/opt/pth/bin/python"
    assert (
        workspace.sh(f"{python} -c 'import jupyterlab, jupyterhub, persistent_terminal_hub; print(1)'") == "1"
    )
    wheel = workspace.put(make_wheel(tmp_path, "1.0"))
    workspace.sh(f"pip install --quiet --no-index {wheel}")
    script = """
import sys
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(startup_timeout=60)
try:
    shown = []
    client.execute_interactive(
        "import pth_tiny, sys; print(sys.prefix, pth_tiny.__file__, sys.path[-1])",
        timeout=60, output_hook=lambda message: shown.append(message["content"].get("text", "")))
finally:
    manager.shutdown_kernel(now=True)
print("".join(shown).strip())
"""
    (tmp_path / "kernel_test.py").write_text(script)
    prefix, file, last = workspace.sh(
        f"{python} {workspace.put(tmp_path / 'kernel_test.py')} | tail -n 1"
    ).split()
    assert prefix == "/workspace/.venv"
    assert file.startswith("/workspace/.venv/lib/")
    assert last.startswith("/opt/pth/lib/")


def test_what_the_user_made_survives_a_new_container(engine: None, tmp_path: Path) -> None:
    """A second container on the same volume keeps packages and dotfiles; another Python begins anew."""
    workspace = Workspace(tmp_path)
    try:
        workspace.start()
        wheel = workspace.put(make_wheel(tmp_path, "2.0"))
        workspace.sh(f"pip install --quiet --no-index {wheel}; rm /workspace/.bashrc")
        workspace.stop()
        workspace.start()
        assert workspace.sh("pth-tiny; ls -A /workspace/.bashrc 2>&1", check=False).startswith(
            "tiny 2.0\nls: cannot"
        )
        # As if the image had changed to another version of Python.
        workspace.sh("sed -i 's/^version = .*/version = 3.9.2/' /workspace/.venv/pyvenv.cfg")
        workspace.stop()
        workspace.start()
        assert workspace.sh("command -v pth-tiny", check=False) == ""
        assert workspace.sh("ls -d /workspace/.venv-3.9-*/bin/pth-tiny")
        logs = subprocess.run(
            ["docker", "logs", workspace.name], capture_output=True, text=True, timeout=30
        ).stderr
        assert "your environment of Python 3.9 is now /workspace/.venv-3.9-" in logs
    finally:
        workspace.remove()


def test_a_full_volume_still_starts(engine: None, tmp_path: Path) -> None:
    """No space for the environment: said with the remedy, and the workspace starts for its repair."""
    workspace = Workspace(tmp_path)
    try:
        docker("volume", "rm", workspace.name)
        options = ["--opt=type=tmpfs", "--opt=device=tmpfs", "--opt=o=size=64k,uid=1000"]
        docker("volume", "create", "--label=pth.test=1", "--driver=local", *options, workspace.name)
        workspace.start()
        logs = subprocess.run(
            ["docker", "logs", workspace.name], capture_output=True, text=True, timeout=30
        ).stderr
        assert "is the volume full" in logs
        assert workspace.sh("command -v git") == "/usr/bin/git"
        assert workspace.sh("ls -d /workspace/.venv 2>/dev/null", check=False) == ""
    finally:
        workspace.remove()


def test_conda_of_the_base_image_is_used(engine: None, tmp_path: Path) -> None:
    """An image that brings conda: its packages are seen, installs go to the volume."""
    (tmp_path / "Dockerfile").write_text(
        f"""FROM {IMAGE}
USER root
RUN mkdir -p /opt/conda/bin /opt/conda/lib && v=$(basename /usr/lib/python3.[0-9]*) && \\
    cp /usr/bin/$v /opt/conda/bin/$v && ln -s $v /opt/conda/bin/python && \\
    ln -s /usr/lib/$v /opt/conda/lib/$v && \\
    mkdir -p /opt/conda/local/lib/$v/dist-packages && \\
    echo 'NAME = "conda"' > /opt/conda/local/lib/$v/dist-packages/only_in_conda.py && \\
    printf '#!/bin/sh\\necho conda\\n' > /opt/conda/bin/conda && chmod 755 /opt/conda/bin/conda
USER 1000:1000
"""
    )
    image = f"pth-test-conda:{uuid.uuid4().hex[:8]}"
    docker("build", "--quiet", "--tag", image, str(tmp_path))
    workspace = Workspace(tmp_path, image)
    try:
        workspace.start()
        assert workspace.sh("echo $PATH").startswith(
            "/workspace/.venv/bin:/workspace/.npm-global/bin:/workspace/.local/bin:/opt/conda/bin:"
        )
        assert workspace.sh("conda; echo $CONDA_ENVS_PATH") == "conda\n/workspace/.conda/envs"
        assert workspace.sh("python -c 'import only_in_conda, sys; print(sys.base_prefix)'") == "/opt/conda"
        wheel = workspace.put(make_wheel(tmp_path, "1.0"))
        workspace.sh(f"pip install --quiet --no-index {wheel}")
        assert workspace.sh("command -v pth-tiny") == "/workspace/.venv/bin/pth-tiny"
    finally:
        workspace.remove()
        docker("rmi", "--force", image, check=False)
