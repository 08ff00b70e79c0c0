"""The record beside every result: how it was made, from what, with which versions."""

import hashlib
import platform
import subprocess
import time
from dataclasses import asdict, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import posekit
from posekit.io.files import write_json

_VERSIONS_OF = (
    *("numpy", "scipy", "torch", "opencv-python-headless", "av", "h5py", "kornia", "ezc3d", "open3d-cpu", "open3d"),
)
#: Endings of posekit's own results, in whose place their records have ``.run.json``.
_OWN_RESULTS = (".h5", ".hdf5", ".safetensors")


def record_path(output: Path) -> Path:
    """Where the record of an output stands: ``out.run.json`` beside ``out.h5``, ``run.json`` in a folder.

    What was made of a result for other programs often has its stem: beside ``out.trc`` stands ``out.trc.run.json``.
    """
    if output.is_dir():
        return output / "run.json"
    return output.with_name(f"{output.stem if output.suffix.lower() in _OWN_RESULTS else output.name}.run.json")


def write_record(output: Path, command: str, config: Any, inputs: list[Path], **more: Any) -> None:
    """Write the record of one output; `inputs` are files, or folders of which every file is counted in one hash."""
    write_json(
        record_path(output),
        {
            "command": command,
            "settings": asdict(config) if is_dataclass(config) and not isinstance(config, type) else config,
            "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "posekit": posekit.__version__,
            "git": _git_state(),
            "python": platform.python_version(),
            "versions": {name: version for name in _VERSIONS_OF if (version := _version(name))},
            "inputs": {str(path): content_hash(path) for path in inputs},
            **more,
        },
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git_state() -> str | None:
    """Commit of the source that runs, with ``-dirty`` where it was changed; None for an installed package."""
    folder = Path(posekit.__file__).parent.parent
    if not (folder / ".git").exists():
        return None
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def content_hash(path: Path) -> str:
    """SHA-256 of a file; of a folder, of its files' names and contents in the order of their names."""
    digest = hashlib.sha256()
    if path.is_dir():
        for below in sorted(path.rglob("*")):
            if below.is_file():
                digest.update(str(below.relative_to(path)).encode())
                digest.update(hashlib.sha256(below.read_bytes()).digest())
    else:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return digest.hexdigest()
