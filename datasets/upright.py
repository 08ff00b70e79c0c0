"""Which way is up, where a file does not say it: where people's heads are, most of the time."""

import warnings

import numpy as np
from jaxtyping import Float

from posekit.errors import PosekitError, PosekitWarning
from posekit.io.axes import UpAxis

#: People who walk and stand have their trunks along the vertical by far more than this, on average; those who lie do not.
_CLEAR = 0.5

_AXES: tuple[tuple[UpAxis, UpAxis], ...] = (("x", "-x"), ("y", "-y"), ("z", "-z"))


def up_of_people(trunk: Float[np.ndarray, "F 3"], where: str) -> UpAxis:
    """Return the axis that trunks (F, 3), from hips to head, point along; warns where that is not clear.

    Raises PosekitError where there is no trunk at all.
    """
    lengths = np.linalg.norm(trunk, axis=-1, keepdims=True)
    known = np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)
    if not known.any():
        raise PosekitError(f"{where}: has no frame with hips and head, by which up is told")
    mean = (trunk[known] / lengths[known]).mean(axis=0)
    axis = int(np.abs(mean).argmax())
    if abs(mean[axis]) < _CLEAR:
        warnings.warn(
            PosekitWarning(
                f"{where}: it is not clear which axis points up; {'xyz'[axis]} is taken, along people's trunks"
            ),
            stacklevel=2,
        )
    return _AXES[axis][int(mean[axis] < 0)]
