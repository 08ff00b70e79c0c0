"""Files of plain arrays, read so that nothing in them runs, and a damaged one is one clear line."""

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.io.files import require_file

#: What a damaged archive makes NumPy, zipfile and zlib stumble in.
_DAMAGE = (
    ValueError,
    OSError,
    EOFError,
    AttributeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)


def read_npz(path: str | Path, what: str) -> dict[str, NDArray[Any]]:
    """Read the arrays of an ``.npz`` by their names; arrays of objects, which are pickles, are refused.

    what: for the message where there is no such file. Raises PosekitError where it is damaged or no ``.npz``.
    """
    path = require_file(path, what)
    try:
        # Opened here, since NumPy leaves a file that is no archive open.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise PosekitError(f"{path}: is a single array, expected {what}")
            with archive:
                return {key: archive[key] for key in archive.files}
    except _DAMAGE as error:
        raise PosekitError(
            f"{path}: is no whole .npz of plain arrays ({type(error).__name__}); expected {what}"
        ) from None
