"""What this machine offers etpick: versions, card, memory, other programs, and what is missing for what."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final

from etpick import __version__

EXTRAS: Final = {
    "bench": "the other ways that benchmarks/compare.py runs",
    "cluster": "jobs of a SLURM cluster, etpick submit",
    "cpu": "picking up to four times as fast without a graphics card",
    "dev": "tests and linters of this project",
    "docs": "building this project's documentation",
    "napari": "tomograms and picks in napari: etpick view, and a plugin",
    "serve": "the browser interface, etpick serve",
    "zarr": "tomograms and score maps as OME-Zarr",
}
"""What each optional extra is for."""

_LITTLE_DISK_GB: Final = 5
_GB: Final = 1e9


@dataclass(frozen=True)
class Finding:
    """One line: a topic, what was found, and what to know or do about it.

    `broken` says that etpick cannot work so.
    """

    topic: str
    found: str
    remark: str = ""
    broken: bool = False


def examine(folder: Path = Path()) -> list[Finding]:
    """Everything worth knowing, in the order to look at it; nothing that is missing raises.

    `folder` is where results would go: its free space is told.
    """
    first = [
        Finding("etpick", __version__, str(Path(__file__).parent)),
        Finding("Python", platform.python_version(), platform.platform()),
    ]
    try:
        requirements = requires("etpick") or []
    except PackageNotFoundError:
        return [*first, Finding("packages", "etpick is not installed, only lies here", "pip install it", broken=True)]
    packages = required_packages(requirements)
    if packages.broken:  # what follows needs them
        return [*first, packages]
    return [
        *first,
        packages,
        *_torch(),
        _processor(),
        _memory(),
        _disk(folder),
        program("RELION", "relion_refine", "averages the picks; Debian: apt-get install relion"),
        program("Chromium", "chromium", "turns reports into pictures: chromium --headless --screenshot PAGE"),
        program("SLURM", "sbatch", "runs commands on a cluster: etpick submit"),
        *optional_extras(requirements),
    ]


def works(findings: list[Finding]) -> bool:
    """Whether etpick can work here."""
    return not any(finding.broken for finding in findings)


def required_packages(requirements: list[str]) -> Finding:
    """Whether what etpick needs in any case is installed; requirements as in a package's metadata."""
    needed = [_distribution(r) for r in requirements if "extra ==" not in r]
    missing = [name for name in needed if not _installed(name)]
    if missing:
        return Finding("packages", f"missing: {', '.join(missing)}", "install etpick again with pip", broken=True)
    return Finding("packages", f"all {len(needed)} that etpick needs are installed")


def optional_extras(requirements: list[str]) -> Iterator[Finding]:
    """A finding for each extra in a package's requirements: there, or what is missing."""
    members: dict[str, list[str]] = {}
    for requirement in requirements:
        if marker := re.search(r"extra == ['\"]([^'\"]+)", requirement):
            members.setdefault(marker[1], []).append(_distribution(requirement))
    for extra, names in sorted(members.items()):
        missing = [name for name in names if not _installed(name)]
        advice = f"; pip install 'etpick[{extra}]'" if missing else ""
        found = f"without {', '.join(missing)}" if missing else "installed"
        yield Finding(f"extra {extra}", found, EXTRAS.get(extra, "") + advice)


def program(topic: str, command: str, purpose: str) -> Finding:
    """Whether another program is on PATH, and its version."""
    path = shutil.which(command)
    if path is None:
        return Finding(topic, f"no {command} on PATH", f"optional: {purpose}")
    return Finding(topic, _version_of(path) or "found, but does not tell its version", path)


def _version_of(path: str) -> str | None:
    try:
        out = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    number = re.search(r"\d+(\.\d+)+\S*", out)
    return number[0] if number else None


def _torch() -> Iterator[Finding]:
    try:
        import torch

        torch.nn.functional.conv3d(torch.zeros(1, 1, 8, 8, 8), torch.zeros(1, 1, 3, 3, 3))
    except Exception as error:  # a broken installation fails in many ways, and each is what we were asked for
        yield Finding(
            "PyTorch", f"does not work: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            "install the build for this machine: PyTorch's installation page names the line", broken=True,
        )  # fmt: skip
        return
    cuda = torch.version.cuda
    yield Finding("PyTorch", torch.__version__, f"built for CUDA {cuda}" if cuda else "built for the processor alone")
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(number)
            yield Finding(f"card cuda:{number}", f"{card.name}, {card.total_memory / _GB:.0f} GB", _bfloat16("cuda"))
    else:
        yield Finding("graphics card", "none that PyTorch can use", _why_no_card(bool(cuda)))
    yield Finding("threads", f"{torch.get_num_threads()} for one process", _thread_setting())


def _why_no_card(built_for_cuda: bool) -> str:
    if shutil.which("nvidia-smi") is None:
        return "etpick works on the processor, more slowly than on a card"
    if not built_for_cuda:
        return "there is an NVIDIA driver, but this PyTorch is built for the processor: install its CUDA build"
    return "there is an NVIDIA driver, but PyTorch's CUDA build does not get through: is the driver too old?"


def _bfloat16(kind: str) -> str:
    import torch

    from etpick.engine import computes_in_bfloat16

    faster = computes_in_bfloat16(torch.device(kind))
    return "computes in bfloat16" if faster else "computes in float32: bfloat16 is not there or not faster"


def _thread_setting() -> str:
    setting = os.environ.get("OMP_NUM_THREADS")
    return f"OMP_NUM_THREADS={setting}" if setting else "OMP_NUM_THREADS sets another number"


def _processor() -> Finding:
    import psutil

    cores, threads = psutil.cpu_count(logical=False), psutil.cpu_count()
    return Finding("processor", f"{cores or '?'} cores, {threads} threads", _safely(lambda: _bfloat16("cpu")))


def _safely(ask: Callable[[], str]) -> str:
    """An answer that needs PyTorch, or nothing where that does not work."""
    try:
        return ask()
    except Exception:  # told already, by PyTorch's own line
        return ""


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    return Finding("memory", f"{memory.available / _GB:.0f} of {memory.total / _GB:.0f} GB free")


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / _GB
    remark = "little for subtomograms and reports" if free < _LITTLE_DISK_GB else ""
    return Finding("disk", f"{free:.0f} GB free in {folder.resolve()}", remark)


def _distribution(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None  # metadata holds requirements only
    return name[0]


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
