"""Writing files so that a process killed at any moment leaves the old file or the new one, never half of one."""

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from posekit.errors import NoSpaceError, PosekitError

#: Bytes. A disk with less is full: files are given space in blocks, and journals take some.
_NO_SPACE = 64 * 1024


@contextlib.contextmanager
def write_whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is moved to `path`, on any error it is removed.

    The suffix is kept, because writers choose their format by it. Raises NoSpaceError where the disk is full, whatever the
    writer makes of that.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise PosekitError(f"{path}: cannot be written: the folder {path.parent} does not exist")
    if path.is_dir():
        raise PosekitError(f"{path}: cannot be written: it is a folder, a file was expected")
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        # Some writers make files that only their owner may read; this one gets the mode that any new file has here.
        mode = _mode_of_new_file(path, temporary)
        yield temporary
        temporary.chmod(mode)
        with temporary.open("rb") as file:
            # Without this a power cut may leave the new name on an empty file.
            os.fsync(file.fileno())
        temporary.replace(path)
    except Exception as error:
        if _is_full(error, path.parent):
            raise NoSpaceError(
                f"{path}: cannot be written: there is no space left in {path.parent}; nothing that was there is lost: free "
                "some space, and run the same command again"
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _mode_of_new_file(path: Path, temporary: Path) -> int:
    """Mode of a file that is made as `temporary`; raises PosekitError, naming `path`, where none can be made."""
    try:
        temporary.touch()
    except OSError as error:
        if _is_full(error, path.parent):
            raise
        raise PosekitError(f"{path}: cannot be written: {error.strerror}") from error
    mode = temporary.stat().st_mode
    temporary.unlink()
    return mode


def _is_full(error: Exception, folder: Path) -> bool:
    """Whether an error came of a full disk. Libraries hide its number in their own words, and torch does not say it at all."""
    if isinstance(error, PosekitError):
        return False
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    if any(word in str(error) for word in ("No space left", "Disk quota exceeded", "File too large")):
        return True
    try:
        # The file that did not fit is still there and fills the disk.
        return isinstance(error, OSError | RuntimeError) and shutil.disk_usage(folder).free < _NO_SPACE
    except OSError:
        return False


def is_unfinished(path: Path) -> bool:
    """Tell a file that `write_whole` is writing, or was writing when its process was killed."""
    return bool(re.fullmatch(r"\..+\.[0-9a-f]{8}\.part(\.[^.]*)?", path.name)) and path.is_file()


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process left of files that `write_whole` was writing anywhere below a folder."""
    for path in folder.rglob(".*.part*"):
        if is_unfinished(path):
            path.unlink()


def write_json(path: str | Path, content: dict[str, Any]) -> None:
    """Write `content` as JSON, whole or not at all. NaN has no place in JSON and becomes null."""
    with write_whole(path) as temporary:
        temporary.write_text(json.dumps(_plain(content), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def natural_order(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sort by this to have cam_2 before cam_10."""
    parts = [part for part in re.split(r"([0-9]+)", name) if part]
    # The name itself decides between cam_1 and cam_01.
    return [(int(part), "") if part[0] in "0123456789" else (-1, part) for part in parts], name


def require_file(path: str | Path, what: str) -> Path:
    """Return `path` as a Path, or say in one line that there is no such file."""
    path = Path(path)
    if not path.exists():
        raise PosekitError(f"{path}: no such file (expected: {what})")
    if not path.is_file():
        raise PosekitError(f"{path}: is a folder, not a file (expected: {what})")
    return path


def require_folder(path: str | Path, what: str) -> Path:
    """Return `path` as a Path, or say in one line that there is no such folder."""
    path = Path(path)
    if not path.exists():
        raise PosekitError(f"{path}: no such folder (expected: {what})")
    if not path.is_dir():
        raise PosekitError(f"{path}: is a file, not a folder (expected: {what})")
    return path
