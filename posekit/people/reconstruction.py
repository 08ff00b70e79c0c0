"""From detections in all views to people in 3D: who is who, then every joint of everyone, hands included."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from posekit.camera import CameraBatch, Rig
from posekit.errors import PosekitError, PosekitWarning
from posekit.geometry.triangulation import Triangulation
from posekit.keypoints import CONFIDENT, Keypoints2D, Keypoints3D, KeypointSource, join_2d, join_3d
from posekit.people.agreement import (
    Agreement,
    body_thresholds,
    measure_agreement,
    person_scale,
    triangulate_joints,
    with_noise_of,
)
from posekit.people.association import Associator, take_people
from posekit.people.hands import hand_thresholds, reject_impossible_hands
from posekit.people.swaps import mend_swaps
from posekit.people.tracks import AssociationSettings
from posekit.point_status import PointStatus
from posekit.skeleton import HAND_FINGERS, Skeleton

#: Frames in memory at once: with 8 cameras, 4 slots and 67 joints 0.2 GB, arrays of the work included.
PIECE_FRAMES = 1024

#: Of the joints that detectors are sure of, this many may be placed outside of the picture. Of the others, which are not
#: counted, there are more where a desk hides the legs.
_OUTSIDE_SHARE = 0.1

#: The agreement of the views is measured on at most so many frames, in blocks over the whole capture.
_MEASURED_BLOCKS, _BLOCK_FRAMES = 16, 32


@dataclass(frozen=True)
class ReconstructionSettings:
    """How to triangulate people.

    threshold_px: how far a body detection may lie from its reprojection and still agree; None measures it on the capture.
    min_views: views that must agree on a point. hand_min_views: the same for hands, where it differs. mend_swaps: whether left
    and right are exchanged where a view confused them. association: see there.
    """

    threshold_px: float | None = None
    min_views: int = 2
    hand_min_views: int | None = None
    mend_swaps: bool = True
    association: AssociationSettings = field(default_factory=AssociationSettings)

    def __post_init__(self) -> None:
        if self.threshold_px is not None and not self.threshold_px > 0:
            raise PosekitError(f"triangulation: threshold_px {self.threshold_px} is not a positive number of pixels")
        for views in (self.min_views, self.hand_min_views):
            if views is not None and views < 2:
                raise PosekitError(f"triangulation: {views} views cannot place a point, 2 or more were expected")


@dataclass(frozen=True)
class Reconstruction:
    """People in 3D, the detections they are made of (slot p is person p), and what was measured of the rig.

    threshold_px: within which body detections agree where every view sees the joint. rig_residual_px: mean error of the body
    detections that agree, which is what this rig and this detector can do together. swapped: (F, C, P, J), detections that had
    left and right confused, and were exchanged.
    """

    people: Keypoints3D
    detections: Keypoints2D
    threshold_px: float
    rig_residual_px: float
    swapped: NDArray[np.bool_]


def reconstruct_people(
    keypoints: KeypointSource, rig: Rig, settings: ReconstructionSettings | None = None
) -> Reconstruction:
    """Associate and triangulate everyone; person 0 is the one whom the views saw best.

    The joints of a finger stand or fall together; the rest of the joints stand alone. Raises PosekitError as `PeopleInCapture`.
    """
    pieces = list(PeopleInCapture(keypoints, rig, settings).reconstruct())
    if len(pieces) == 1:
        return pieces[0]
    return Reconstruction(
        join_3d([piece.people for piece in pieces]),
        join_2d([piece.detections for piece in pieces]),
        pieces[0].threshold_px,
        pieces[0].rig_residual_px,
        np.concatenate([piece.swapped for piece in pieces]),
    )


def identify_people(keypoints: KeypointSource, rig: Rig, settings: AssociationSettings | None = None) -> Keypoints2D:
    """Return the keypoints with person p in slot p of every view and frame. Raises PosekitError as `PeopleInCapture`."""
    capture = PeopleInCapture(keypoints, rig, ReconstructionSettings(association=settings or AssociationSettings()))
    return join_2d([capture.detections(piece) for piece in capture.pieces()])


class PeopleInCapture:
    """Everyone in a capture, found on a first walk through it, and reconstructed piece by piece on a second.

    What is in memory at once is a piece of `PIECE_FRAMES` frames, and for the whole capture who is where. on_frames: called
    with (what is done, frames done, frames in all).

    Raises PosekitError where the rig lacks a camera of the keypoints, where there are fewer than two cameras, where nothing was
    detected at all, and where nobody is seen by two cameras at once, or too seldom.
    """

    def __init__(
        self,
        keypoints: KeypointSource,
        rig: Rig,
        settings: ReconstructionSettings | None = None,
        on_frames: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self._keypoints = keypoints
        self.rig = rig.select(keypoints.cameras)
        self._settings = settings or ReconstructionSettings()
        self._on_frames = on_frames
        if len(self.rig) < 2:
            raise PosekitError(
                f"{keypoints.source}: has one camera ('{self.rig.names[0]}'); triangulation needs two or more"
            )
        self._read = _Reader(keypoints)
        self._slots = self._identify()

    @property
    def person_count(self) -> int:
        """P, how many people there are."""
        return self._slots.shape[2]

    def pieces(self) -> list[range]:
        """Return the places of the frames that are worked on together."""
        F = len(self._keypoints.frames)
        return [range(start, min(start + PIECE_FRAMES, F)) for start in range(0, max(F, 1), PIECE_FRAMES)]

    def detections(self, piece: range) -> Keypoints2D:
        """Return a piece of the keypoints with person p in slot p of every view and frame."""
        return take_people(self._read(piece), self._slots[piece.start : piece.stop])

    def reconstruct(self) -> Iterator[Reconstruction]:
        """Triangulate everyone, piece by piece."""
        for piece in self.pieces():
            yield triangulate_people(self.detections(piece), self.rig, self._settings, self.agreement)
            self._tell("triangulating", piece.stop)

    @cached_property
    def agreement(self) -> Agreement:
        """How far the views lie from each other, measured on frames from all over the capture."""
        F = len(self._keypoints.frames)
        if F <= _MEASURED_BLOCKS * _BLOCK_FRAMES:
            blocks = self.pieces()
        else:
            starts = np.linspace(0, F - _BLOCK_FRAMES, _MEASURED_BLOCKS).astype(np.int64)
            blocks = [range(start, start + _BLOCK_FRAMES) for start in starts.tolist()]
        sample = join_2d([self.detections(block) for block in blocks])
        return _measure_everyone(sample, self.rig, self._settings)

    def _identify(self) -> NDArray[np.int64]:
        source = self._keypoints.source
        associator = Associator(self._keypoints, self.rig, self._settings.association)
        anything = False
        for piece in self.pieces():
            keypoints = self._read(piece)
            anything |= bool(np.isfinite(keypoints.xy).any())
            if piece.start == 0:
                _check_pictures(keypoints, self.rig)
            associator.add(keypoints)
            self._tell("who is who", piece.stop)
        if not anything:
            raise PosekitError(f"{source}: has no detection in any frame of any camera")
        check_scale(associator.usual_span(), self._keypoints.skeleton, self.rig)
        slots = associator.slots()
        if slots.shape[2]:
            return slots
        brief = associator.slots(min_share=0)
        if brief.shape[2]:
            seen = int((brief >= 0).any(axis=1).sum(axis=0).max())
            share = self._settings.association.min_share
            raise PosekitError(
                f"{source}: nobody is followed for long: who is longest is seen by two cameras at once in {seen} of "
                f"{len(brief)} frames, and people in less than a share of {share:g} are left out (min_share)"
            )
        raise PosekitError(
            f"{source}: nobody is seen by two cameras at once; are the frames synchronized, and is {self.rig.source} the "
            "rig of this capture?"
        )

    def _tell(self, what: str, done: int) -> None:
        if self._on_frames:
            self._on_frames(what, done, len(self._keypoints.frames))


class _Reader:
    """Reads pieces of a capture, and remembers them where the whole of it is small: the second walk need not parse it again."""

    def __init__(self, keypoints: KeypointSource) -> None:
        self._keypoints = keypoints
        self._remembered: dict[range, Keypoints2D] = {}

    def __call__(self, piece: range) -> Keypoints2D:
        if piece in self._remembered:
            return self._remembered[piece]
        keypoints = self._keypoints.read(piece.start, piece.stop)
        if len(self._keypoints.frames) <= 4 * PIECE_FRAMES:
            self._remembered[piece] = keypoints
        return keypoints


def triangulate_people(
    detections: Keypoints2D, rig: Rig, settings: ReconstructionSettings, agreement: Agreement | None = None
) -> Reconstruction:
    """Triangulate people whose slots are already the same person in every view and frame.

    detections and rig must have the same cameras in the same order. agreement: how far the views lie from each other, measured
    on these detections if not given.
    """
    agreement = agreement or _measure_everyone(detections, rig, settings)
    swapped = np.zeros(detections.confidence.shape, dtype=np.bool_)
    if settings.mend_swaps:
        mended = mend_swaps(detections, rig, agreement.threshold_px)
        detections, swapped = mended.detections, mended.swapped
    cameras = CameraBatch.from_rig(rig)
    growth = agreement.growth(person_scale(detections, rig))
    result = _empty(detections)
    body = detections.skeleton.body_joints
    limits = body_thresholds(detections, body, agreement, growth)
    noise = growth[..., None] * agreement.noise_px[body]
    found = triangulate_joints(detections, body[:, None], cameras, limits, settings.min_views, noise)
    _put(result, found, body[:, None])
    for side, hand in _hands(detections):
        limits = _hand_limits(detections, hand, agreement)
        for groups, found in _triangulate_hand(detections, hand, cameras, limits, agreement, growth, settings):
            _put(result, found, groups)
        reject_impossible_hands(result, detections.skeleton, side)
    people = Keypoints3D(
        **result,
        cameras=detections.cameras,
        frames=detections.frames,
        skeleton=detections.skeleton,
        fps=detections.fps,
        source=f"{detections.source} + {rig.source}",
    )
    return Reconstruction(people, detections, agreement.threshold_px, agreement.residual_px, swapped)


def _measure_everyone(detections: Keypoints2D, rig: Rig, settings: ReconstructionSettings) -> Agreement:
    """Measure the agreement on bodies and, within that, on hands."""
    agreement = measure_agreement(detections, rig, settings.threshold_px)
    growth = agreement.growth(person_scale(detections, rig))
    cameras = CameraBatch.from_rig(rig)
    for _, hand in _hands(detections):
        limits = _hand_limits(detections, hand, agreement)
        for groups, found in _triangulate_hand(detections, hand, cameras, limits, agreement, growth, settings):
            agreement = with_noise_of(agreement, found, groups, growth, limits)
    return agreement


def _hands(detections: Keypoints2D) -> list[tuple[str, NDArray[np.int64]]]:
    skeleton = detections.skeleton
    return [(side, skeleton.part(side)) for side in ("left_hand", "right_hand") if side in skeleton.parts]


def _hand_limits(detections: Keypoints2D, hand: NDArray[np.int64], agreement: Agreement) -> NDArray[np.float64]:
    """Within how many px the views agree on a hand, (F, C, P)."""
    residual = agreement.residual_px * agreement.person
    return hand_thresholds(detections.xy[..., hand, :], residual, detections.frames).transpose(0, 2, 1)


def _triangulate_hand(
    detections: Keypoints2D,
    hand: NDArray[np.int64],
    cameras: CameraBatch,
    limits: NDArray[np.float64],
    agreement: Agreement,
    growth: NDArray[np.float64],
    settings: ReconstructionSettings,
) -> Iterator[tuple[NDArray[np.int64], Triangulation]]:
    """Triangulate a hand's wrist alone and its fingers each as one; yields the joints (K, G) and their points."""
    views = settings.hand_min_views or settings.min_views
    for groups in (hand[:1, None], hand[np.array(HAND_FINGERS)]):
        noise = growth[..., None] * agreement.noise_px[groups].mean(axis=-1)
        yield groups, triangulate_joints(detections, groups, cameras, limits, views, noise)


def _empty(detections: Keypoints2D) -> dict[str, NDArray]:
    F, C, P, J = detections.confidence.shape
    return {
        "xyz": np.full((F, P, J, 3), np.nan),
        "covariance": np.full((F, P, J, 6), np.nan, dtype=np.float32),
        "inliers": np.zeros((F, P, J, C), dtype=np.bool_),
        "reprojection_px": np.full((F, P, J, C), np.nan, dtype=np.float32),
        "status": np.full((F, P, J), PointStatus.TOO_FEW_VIEWS, dtype=np.uint8),
    }


def _put(result: dict[str, NDArray], found: Triangulation, groups: NDArray[np.int64]) -> None:
    """Write groups of joints (K, G) into the arrays (F, P, J, ...)."""
    F, P = result["status"].shape[:2]
    names = {
        "xyz": found.points_world,
        "covariance": found.covariance,
        "inliers": found.inliers,
        "reprojection_px": found.reprojection_px,
        "status": found.status,
    }
    for name, values in names.items():
        result[name][:, :, groups] = values.reshape(F, P, *groups.shape, *values.shape[2:]).numpy()


def check_scale(span: float, skeleton: Skeleton, rig: Rig) -> None:
    """A rig in millimetres that was read as metres makes people a thousand times too tall; say so.

    span: of whom the skeleton describes, metres; NaN where there is none. Raises PosekitError where nobody can be of such a
    size, and warns where few are.
    """
    hands_alone = set(skeleton.parts) == {"hand"}
    who, large, usual = ("hands come", 2.0, 0.4) if hands_alone else ("people come", 20.0, 4.0)
    if not np.isfinite(span):
        return
    if not large / 400 < span < large:
        raise PosekitError(
            f"{rig.source}: {who} out {span:.{0 if span >= 100 else 3}f} m across: the rig's units are not metres (are they "
            "millimetres, or squares of a board? `posekit convert --units` makes metres of them)"
        )
    if span > usual:
        warnings.warn(PosekitWarning(f"{rig.source}: {who} out {span:.2g} m across; check its units"), stacklevel=4)


def _check_pictures(keypoints: Keypoints2D, rig: Rig) -> None:
    """Warn where sure detections lie beyond the right or lower edge: they are of larger pictures, or of another camera."""
    for c, camera in enumerate(rig.cameras):
        found = keypoints.xy[:, c][keypoints.confidence[:, c] >= CONFIDENT]
        share = float((found > np.array(camera.size)).any(axis=-1).mean()) if len(found) else 0.0
        if share > _OUTSIDE_SHARE:
            width, height = np.quantile(found, 0.99, axis=0)
            warnings.warn(
                PosekitWarning(
                    f"{keypoints.source}: {100 * share:.0f} % of what camera '{camera.name}' detected lies beyond its picture "
                    f"of {camera.size[0]} x {camera.size[1]} px, up to ({width:.0f}, {height:.0f}): was the video resized?"
                ),
                stacklevel=5,
            )
