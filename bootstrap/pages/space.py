"""What was learnt as a picture in space: by Open3D where there is one, else drawn as lines."""

import base64
import warnings
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.pages.cells import encode
from posekit.bootstrap.pages.run_files import part_joints, part_skeleton
from posekit.camera import Rig
from posekit.errors import PosekitError
from posekit.io.files import write_whole
from posekit.keypoints import Keypoints3D
from posekit.view.colours import bone_colours
from posekit.view.scene import Focus, Scene, render_frames

_SIZE = (480, 420)

SPACE_STYLE = """
.space figure { width: 480px; max-width: 100%; }
.space img { max-width: 100%; }
.space path { fill: none; stroke-linecap: round; stroke-width: 5; }
"""


def space_picture(points: Keypoints3D, rig: Rig, person: int, part: str, kept: Path, *, render: bool) -> str:
    """A figure of one part in the frame that has most of its points; empty text where there are none.

    kept: where the rendered picture is kept as JPEG; if it is there, it is taken as it is. render: make it if it is not, which
    takes seconds; else the points are drawn as lines.
    """
    joints = part_joints(points.skeleton, part)
    xyz = points.xyz[:, person, joints]
    known = np.isfinite(xyz).all(axis=-1).sum(axis=1)
    if not known.any():
        return ""
    row = int(known.argmax())
    caption = (
        f"{part.replace('_', ' ')} of person {person}, frame {points.frames[row]}: {known[row]} of {len(joints)} points"
    )
    picture = ""
    if render or kept.exists():
        try:
            picture = _rendered(points, rig, row, person, part, kept)
        except PosekitError as error:
            caption += f" (drawn as lines: {error})"
    picture = picture or _drawn(points, xyz[row], part)
    return f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"


def _rendered(points: Keypoints3D, rig: Rig, row: int, person: int, part: str, kept: Path) -> str:
    if not kept.exists():
        focus: Focus = "left_hand" if part == "left_hand" else "right_hand" if part == "right_hand" else "body"
        alone = _only(points, person)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a library; the picture is there or it is not
            image = next(render_frames(Scene(alone, rig.select(points.cameras)), [row], focus=focus, size=_SIZE))
        with write_whole(kept) as temporary:
            temporary.write_bytes(encode(image))
    data = base64.b64encode(kept.read_bytes()).decode("ascii")
    return (
        f'<img src="data:image/jpeg;base64,{data}" width="{_SIZE[0]}" height="{_SIZE[1]}" alt="{escape(part)} in 3D">'
    )


def _only(points: Keypoints3D, person: int) -> Keypoints3D:
    """One person of several: a focus would choose whom there is most of."""
    names = ("xyz", "covariance", "inliers", "reprojection_px", "status")
    arrays = {name: getattr(points, name)[:, person : person + 1] for name in names}
    return Keypoints3D(
        **arrays,
        cameras=points.cameras,
        frames=points.frames,
        skeleton=points.skeleton,
        fps=points.fps,
        source=points.source,
    )


def _drawn(points: Keypoints3D, xyz: NDArray[np.float64], part: str) -> str:
    """Points (K, 3) seen from where they are spread widest, without perspective."""
    skeleton = part_skeleton(points.skeleton, part)
    known = np.asarray(np.isfinite(xyz).all(axis=-1))
    middle = xyz[known].mean(axis=0)
    _, _, axes = np.linalg.svd(xyz[known] - middle, full_matrices=False)
    flat = (xyz - middle) @ axes[:2].T if len(axes) > 1 else np.zeros((len(xyz), 2))
    scale = 0.42 * min(_SIZE) / max(float(np.abs(flat[known]).max()), 1e-9)
    place = flat * scale + np.array(_SIZE) / 2
    lines = "".join(
        f'<path stroke="rgb({red},{green},{blue})" d="M{place[a, 0]:.1f} {place[a, 1]:.1f}'
        f'L{place[b, 0]:.1f} {place[b, 1]:.1f}"/>'
        for (a, b), (red, green, blue) in zip(skeleton.bones, bone_colours(skeleton).tolist(), strict=True)
        if known[a] and known[b]
    )
    return f'<svg viewBox="0 0 {_SIZE[0]} {_SIZE[1]}" role="img" aria-label="{escape(part)} in 3D">{lines}</svg>'
