"""OneHand10K: 11,703 pictures of one hand each, by hand, in the wild; hidden joints have no label.

Wang, Peng and Liu, "Mask-Pose Cascaded CNN for 2D Hand Pose Estimation from Single Color Image", TCSVT 2018.
Licence: for research only; ask the authors (www.yangangwang.com/papers/WANG-MCC-2018-10.html), who send the download.

Layout: ``{Train,Test}/label_joint.txt`` and ``{Train,Test}/source/<name>``. A line is
``name,width,height,hands,x1,y1,...,x21,y21``, px, -1 -1 where a joint cannot be seen, in hand-21 order.
Which hands are left ones is not said: all are taken for right hands, with a warning.
"""

import warnings
from pathlib import Path

import numpy as np

from posekit.datasets.hand_labels import HandLabels, number_array
from posekit.errors import PosekitError, PosekitWarning
from posekit.io.files import require_file, require_folder

_SPLITS = {"train": "Train", "test": "Test"}
_FIELDS = 4 + 2 * 21


def read_onehand10k(folder: str | Path, split: str = "train") -> HandLabels:
    """Read the labels. split: ``train`` or ``test``. Raises PosekitError for a file that is missing, or a line that is none."""
    place = require_folder(Path(folder) / _SPLITS[split], f"OneHand10K's {_SPLITS[split]} set")
    path = require_file(place / "label_joint.txt", "OneHand10K's labels")
    names, rows = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        fields = line.rstrip(", ").split(",")
        if len(fields) != _FIELDS:
            raise PosekitError(
                f"{path}: line {number}: found {len(fields)} fields, expected {_FIELDS}: name, width, height, hands, 21 points"
            )
        names.append(fields[0].strip())
        rows.append(number_array(fields[4:], (42,), f"{path}: line {number}").reshape(21, 2))
    if not rows:
        raise PosekitError(f"{path}: found no line, expected one for every hand")
    joints = np.array(rows)
    labelled = (joints != -1).all(axis=-1)
    warnings.warn(
        PosekitWarning(f"{path}: does not say which hands are left ones; all are taken for right hands"), stacklevel=2
    )
    return HandLabels(
        folder=place / "source",
        pictures=names,
        picture=np.arange(len(names)),
        joints=np.where(labelled[..., None], joints, np.nan),
        visible=labelled,
        left=np.zeros(len(names), dtype=bool),
        source=str(path),
    )
