"""The golden tests of the demo model's bundles on an emulated 64-bit Arm CPU with float16 instructions.

    python .ci/arm.py FOLDER

FOLDER receives QEMU, Debian's Python for arm64 and PyPI's aarch64 wheels of the light dependencies. They are unpacked
there and nothing is installed on the machine. Where they cannot be had, the reason is printed and nothing is tested.
On an Arm machine the tests run without emulation.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

from rsvl.cli import main

ROOT = Path(__file__).parents[1]
#: Its QEMU runs ONNX Runtime; that of the release before, 7.2, crashes from 1.29 on.
RELEASE, PYTHON, OLDEST_QEMU = "trixie", "3.13", 10
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PACKAGES = ("python3", "libstdc++6")
MODEL, PRECISIONS = "cd2fsan-tiny", ("fp32", "fp16")
#: The first has float16 instructions, as Jetson Orin's cores; the second all that QEMU knows, as SVE and BF16.
CPUS = ("cortex-a76", "max")
CHECK = "import sys; from rsvl.cli import main; sys.exit(main(['check', *sys.argv[1:]]))"


class UnavailableError(Exception):
    """What the tests need cannot be had here."""


def emulator(folder: Path) -> list[str]:
    """The command of an emulated Python with the light dependencies, without the CPU's name at its end."""
    tree, wheels = folder / "tree", folder / "wheels"
    qemu = _installed_qemu() or folder / "qemu-aarch64"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        _unpack_packages(folder / "packages", tree, qemu)
        _install_wheels(wheels)
        (folder / "ready").touch()
    paths = f"PYTHONPATH={wheels}{os.pathsep}{ROOT / 'build/rooms'}"
    variables = [paths, "PYTHONDONTWRITEBYTECODE=1", "ORT_DISABLE_TELEMETRY=1"]
    return ["env", *variables, str(qemu), "-L", str(tree), "-cpu"]


def _installed_qemu() -> Path | None:
    for name in ("qemu-aarch64-static", "qemu-aarch64"):
        path = shutil.which(name)
        if path is not None:
            version = re.search(r"version (\d+)", _run(path, "--version"))
            if version is not None and int(version[1]) >= OLDEST_QEMU:
                return Path(path)
    return None


def _unpack_packages(folder: Path, tree: Path, qemu: Path) -> None:
    """Unpacks Debian's packages for arm64 into `tree`, and QEMU where it is not there yet; `folder` is for the work."""
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise UnavailableError(f"it is set up from Debian's packages, and there is no {tool} here")
    if not KEYRING.is_file():
        raise UnavailableError(f"no keyring to check Debian's packages with: {KEYRING}")
    apt = _private_apt(folder)
    _run(*apt, "update")
    _run(*apt, "install", "--yes", "--download-only", *PACKAGES)
    for name in ("lib", "bin", "sbin"):
        (tree / "usr" / name).mkdir(parents=True)
        (tree / name).symlink_to(f"usr/{name}")
    for package in (folder / "cache/archives").glob("*.deb"):
        _run("dpkg", "-x", str(package), str(tree))
    if not qemu.exists():
        _run(*apt, "download", f"qemu-user:{_architecture()}", cwd=folder)
        (package,) = folder.glob("qemu-user*.deb")
        _run("dpkg", "-x", str(package), str(folder / "emulators"))
        (folder / "emulators/usr/bin" / qemu.name).rename(qemu)
    shutil.rmtree(folder)


def _private_apt(folder: Path) -> tuple[str, ...]:
    """An apt-get with its own sources, lists and cache, for which nothing is installed yet."""
    for name in ("state/lists/partial", "cache/archives/partial", "parts"):
        (folder / name).mkdir(parents=True)
    (folder / "state/status").touch()
    source = f"deb [signed-by={KEYRING}] http://deb.debian.org/debian {RELEASE} main\n"
    (folder / "sources.list").write_text(source)
    settings = {
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "state/status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": folder / "parts",
        "APT::Architecture": "arm64",
        "APT::Architectures": f"arm64,{_architecture()}",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",
        "APT::Update::Error-Mode": "any",
        "Acquire::Languages": "none",
    }
    return ("apt-get", *(f"-o{key}={value}" for key, value in settings.items()))


def _architecture() -> str:
    """Debian's name of this machine's."""
    return _run("dpkg", "--print-architecture").strip()


def _install_wheels(folder: Path) -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    platforms = [f"--platform=manylinux_2_{glibc}_aarch64" for glibc in (17, 27, 28)]
    exact = ("--constraint", str(ROOT / "constraints.txt"))
    options = (*platforms, f"--python-version={PYTHON}", "--only-binary=:all:", *exact, f"--target={folder}")
    _run(sys.executable, "-m", "pip", "install", *options, *dependencies)


def _run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UnavailableError(f"{Path(command[0]).name} failed: {last}")
    return done.stdout


def bundles(folder: Path) -> list[Path]:
    """The demo model's bundles, exported anew."""
    paths = [folder / f"{precision}.bundle" for precision in PRECISIONS]
    for path, precision in zip(paths, PRECISIONS, strict=True):
        options = ["--fp16"] if precision == "fp16" else []
        if main(["export", "--model", MODEL, *options, "-o", str(path)]):
            raise SystemExit(1)
    return paths


def passes(bundle: Path, command: Sequence[str], cpu: str) -> bool:
    """Checks a bundle; tells whether its answers are as exported."""
    began = time.perf_counter()
    print(f"{cpu}:", flush=True)
    done = subprocess.run([*command, "-c", CHECK, str(bundle)], cwd=bundle.parent)
    print(f"  {time.perf_counter() - began:.0f} s", flush=True)
    return done.returncode == 0


def test(folder: Path) -> bool:
    """Runs all golden tests; tells whether all passed.

    Raises:
        UnavailableError: the emulated machine cannot be set up here.
    """
    python = str(folder / f"tree/usr/bin/python{PYTHON}")
    if platform.machine() in ("aarch64", "arm64"):
        commands = {"this CPU": [sys.executable]}
    else:
        emulated = emulator(folder)
        commands = {cpu: [*emulated, cpu, python] for cpu in CPUS}
    exported = bundles(folder)
    passed = [passes(bundle, command, name) for name, command in commands.items() for bundle in exported]
    return all(passed)


if __name__ == "__main__":
    try:
        green = test(Path(sys.argv[1]).resolve())
    except UnavailableError as reason:
        print(f"skipped: the golden tests on an emulated Arm CPU: {reason}")
    else:
        print(f"golden tests on Arm: {'passed' if green else 'FAILED'}")
        sys.exit(not green)
