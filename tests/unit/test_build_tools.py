"""The scripts behind the Makefile: stamps, requirements, wheels for another Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

IMAGES = Path(__file__).resolve().parents[2] / "images"
sys.path.insert(0, str(IMAGES))

from once import fingerprint, run  # noqa: E402
from requirements import requirements  # noqa: E402
from wheelhouse import ImagePython  # noqa: E402

DEBIAN_12 = ImagePython("3.11.2", "CPython", "x86_64", "Linux", "linux", "2.36")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkout with one source file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.py").write_text("a = 1\n")
    return tmp_path


def count(checkout: Path) -> int:
    """How often the step ran."""
    return len((checkout / "log").read_text().splitlines())


def step(*, output: str = "log", value: str = "") -> int:
    """A step that writes a line each time it runs."""
    return run(
        Path("stamps/step"),
        ["sh", "-c", "echo ran >> log"],
        inputs=[Path("source")],
        values=[value],
        outputs=[Path(output)],
    )


def test_a_step_runs_again_only_for_changed_content(checkout: Path) -> None:
    """Content, names, values and a missing output count; times and caches do not."""
    source = checkout / "source"
    for prepare, runs in [
        (lambda: None, 1),
        (lambda: (source / "a.py").touch(), 1),
        (lambda: (source / "__pycache__").mkdir(), 1),
        (lambda: (source / "__pycache__" / "a.pyc").write_bytes(b"x"), 1),
        (lambda: (source / "a.py").write_text("a = 2\n"), 2),
        (lambda: (source / "a.py").rename(source / "b.py"), 3),
        (lambda: (source / "b.py").chmod(0o755), 4),
    ]:
        prepare()
        assert step() == 0
        assert count(checkout) == runs
    assert step(value="other") == 0
    assert count(checkout) == 5
    assert step(value="other", output="gone") == 0
    assert count(checkout) == 6


def test_a_failed_step_runs_again(checkout: Path) -> None:
    """A step that failed leaves no stamp, not even the one of an earlier success."""
    stamp = Path("stamps/step")
    assert run(stamp, ["false"]) == 1
    assert not stamp.exists()
    assert run(stamp, ["true"]) == 0
    assert run(stamp, ["false"]) == 1
    assert not stamp.exists()


def test_steps_that_must_be_alone_wait_for_each_other(checkout: Path) -> None:
    """Of two that begin at the same time one runs after the other."""
    script = "echo begins >> log; sleep 0.2; echo ends >> log"
    command = [sys.executable, str(IMAGES / "once.py")]
    doing = [
        subprocess.Popen([*command, f"stamps/{name}", "--alone", "pip", "--", "sh", "-c", script])
        for name in ("a", "b")
    ]
    assert [process.wait(20) for process in doing] == [0, 0]
    assert (checkout / "log").read_text().split() == ["begins", "ends"] * 2


def test_fingerprint_keeps_neighbours_apart(tmp_path: Path) -> None:
    """Two values do not hash like one."""
    assert fingerprint([], ["ab", "c"]) != fingerprint([], ["a", "bc"])
    assert fingerprint([tmp_path / "missing"], []) != fingerprint([], [])


def test_requirements_are_those_of_the_extras() -> None:
    """The image installs what a workspace needs, not what the hub needs."""
    lines = requirements(IMAGES.parent / "pyproject.toml", ["workspace"])
    names = {line.split(">")[0] for line in lines}
    assert {"jupyterlab", "pydantic"} <= names
    assert "dockerspawner" not in names


def test_wheels_are_chosen_for_the_image() -> None:
    """pip gets the image's version, ABI and C library, newest first, and nothing newer."""
    flags = DEBIAN_12.pip_flags()
    assert flags[flags.index("--python-version") + 1] == "3.11.2"
    platforms = [flags[at + 1] for at, flag in enumerate(flags) if flag == "--platform"]
    assert platforms[0] == "manylinux_2_36_x86_64"
    assert {"manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "any"} <= set(platforms)
    assert "manylinux_2_39_x86_64" not in platforms
    assert [flags[at + 1] for at, flag in enumerate(flags) if flag == "--abi"] == ["cp311", "abi3", "none"]


def test_markers_are_those_of_the_image() -> None:
    """A marker such as python_version < "3.12" is answered for the image, whatever Python the host has."""
    script = (
        "import json, os, sys; sys.path.insert(0, sys.argv[1])\n"
        "import wheelhouse; wheelhouse.pip_for_image(['--version'])\n"
        "from pip._vendor.packaging.markers import Marker\n"
        "assert Marker('python_full_version == \"3.10.99\"').evaluate()\n"
    )
    markers = '{"python_full_version": "3.10.99", "python_version": "3.10"}'
    done = subprocess.run(
        [sys.executable, "-c", script, str(IMAGES)],
        env={"PATH": "/usr/bin:/bin", "PTH_IMAGE_MARKERS": markers},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_start_scripts_are_valid_shell() -> None:
    """The scripts parse; what they do is tested in the image."""
    rootfs = IMAGES / "workspace" / "rootfs"
    scripts = [
        rootfs / "usr/local/bin/pth-start",
        rootfs / "etc/profile.d/pth.sh",
        IMAGES / "base/build",
        IMAGES / "npm",
    ]
    for script in scripts:
        done = subprocess.run(["sh", "-n", str(script)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
