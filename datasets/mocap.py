"""Motion capture: what somebody did, as joints in metres."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from posekit.errors import PosekitError
from posekit.skeleton import Skeleton, skeleton_of_names


@dataclass(frozen=True, eq=False)
class MocapClip:
    """One recording of one person.

    name: of the clip, such as ``02_01``. subject, action: who did what, "" where the files do not say. joints: names, posekit's
    where the point on the body is one of posekit's (`posekit.skeleton`). xyz: (F, J, 3) metres, Z up, NaN where not measured.
    """

    name: str
    subject: str
    action: str
    fps: float
    joints: tuple[str, ...]
    xyz: Float[np.ndarray, "F J 3"]

    def __post_init__(self) -> None:
        xyz = np.asarray(self.xyz)
        if xyz.ndim != 3 or xyz.shape[1:] != (len(self.joints), 3) or len(xyz) == 0:
            raise PosekitError(
                f"clip {self.name}: found joints of shape {xyz.shape}, expected (frames, {len(self.joints)}, 3) and a frame "
                "or more"
            )
        if len(set(self.joints)) != len(self.joints):
            raise PosekitError(f"clip {self.name}: two joints have one name")
        if not (np.isfinite(self.fps) and self.fps > 0):
            raise PosekitError(f"clip {self.name}: found {self.fps} frames per second, expected more than 0")

    @property
    def skeleton(self) -> Skeleton:
        """The clip's joints as a skeleton without bones, for maps between skeletons."""
        return skeleton_of_names(self.name, self.joints)

    def __getitem__(self, joint: str) -> Float[np.ndarray, "F 3"]:
        """Return where one joint went."""
        return self.xyz[:, self.skeleton.index(joint)]

    def at_rate(self, fps: float) -> "MocapClip":
        """Return every n-th frame, so that the rate is the nearest to `fps` that needs no interpolation; never a higher one."""
        step = max(1, round(self.fps / fps))
        return replace(self, xyz=self.xyz[::step], fps=self.fps / step) if step > 1 else self


def hold_out(
    clips: Sequence[MocapClip], subjects: Sequence[str] = (), actions: Sequence[str] = ()
) -> tuple[list[MocapClip], list[MocapClip]]:
    """Part clips into those to train on and those held out: every clip of the named subjects and actions.

    Frames of a clip, and clips of a person doing one thing, are too alike to stand on both sides.

    Raises PosekitError for a subject or an action that no clip has, and where nothing is left on a side.
    """
    for what, wanted, known in (
        ("subject", subjects, {clip.subject for clip in clips}),
        ("action", actions, {clip.action for clip in clips}),
    ):
        for name in wanted:
            if name not in known:
                raise PosekitError(f"hold out {what} '{name}': no clip has it; there are: {', '.join(sorted(known))}")
    out = [clip for clip in clips if clip.subject in subjects or clip.action in actions]
    kept = [clip for clip in clips if clip.subject not in subjects and clip.action not in actions]
    if not out or not kept:
        raise PosekitError(
            f"hold out: {len(kept)} clips would be left to train on and {len(out)} held out, expected some of both: name "
            "some, not all, of the subjects or actions"
        )
    return kept, out
