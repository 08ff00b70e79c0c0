"""Who is who: which detections of the views are one person, and which people of the frames are one person over time.

Across views: every two detections of different cameras are compared by how many of their joints' rays meet; detections are
then joined greedily, best pair first, as long as the groups agree on average and hold one detection per camera, and moved
between the groups as long as that makes them agree better. No combination of cameras is enumerated. Over time: groups are
linked to the nearest track of the frames before.
"""

import itertools
import warnings
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posekit.camera import CameraBatch, Rig
from posekit.errors import PosekitError
from posekit.geometry.chunks import map_chunks
from posekit.geometry.triangulation import triangulate_robust
from posekit.keypoints import Keypoints2D, KeypointSource
from posekit.people.tracks import AssociationSettings, Tracks

#: Fewer joints in common say nothing about two detections being one person: one pair of rays may meet by chance. Two are
#: enough for an arm of which the views see wrist and elbow; as similarities are sums, they are joined after everyone else.
MIN_COMMON_JOINTS = 2

#: What is seen of a person counts as at least this large (px): the box round a forearm says little of how far the rays of a
#: detector and a rig that err by some pixels may miss each other.
MIN_EXTENT_PX = 130.0

#: Frames compared at once: 31 cameras with 10 slots each are 25 MB of similarities.
CHUNK_FRAMES = 32


def associate_people(
    keypoints: KeypointSource, rig: Rig, settings: AssociationSettings | None = None
) -> NDArray[np.int64]:
    """Return the slot of every person's detection in every view and frame: see `Associator.slots`; raises as it does."""
    associator = Associator(keypoints, rig, settings)
    associator.add(keypoints.read(0, len(keypoints.frames)))
    return associator.slots()


class Associator:
    """Tells who is who, one piece of a capture after the other.

    keypoints and rig must have the same cameras in the same order. Only the part ``body`` is looked at where there is one.
    The people of a view may stand in any order, in every frame another. Raises PosekitError where frames are out of order.
    """

    def __init__(self, keypoints: KeypointSource, rig: Rig, settings: AssociationSettings | None = None) -> None:
        if (np.diff(keypoints.frames) <= 0).any():
            raise PosekitError(f"{keypoints.source}: the frame numbers do not ascend")
        self._settings = settings or AssociationSettings()
        self._cameras = CameraBatch.from_rig(rig)
        self._frames = keypoints.frames
        self._frame_count = 0
        self._tracks = Tracks(keypoints.frames, keypoints.fps or 30.0, self._settings)
        # Of every group of detections that are one person in one frame: the frame's number in the capture, the slots (C,), the
        # track, the middle of the joints (metres) and the support.
        self._frame_of: list[NDArray[np.int64]] = []
        self._member: list[NDArray[np.int64]] = []
        self._track_of: list[NDArray[np.int64]] = []
        self._places: list[NDArray[np.float64]] = []
        self._support: list[NDArray[np.float64]] = []
        self._spans: list[NDArray[np.float64]] = []

    def add(self, keypoints: Keypoints2D) -> None:
        """Take the next frames."""
        joints = keypoints.skeleton.body_joints
        xy = torch.from_numpy(keypoints.xy[:, :, :, joints].astype(np.float64))
        confidence = torch.from_numpy(keypoints.confidence[:, :, :, joints].astype(np.float64))

        def group(chunk: slice) -> list[list[NDArray[np.int64]]]:
            return _group_views(xy[chunk], confidence[chunk], self._cameras, self._settings)

        chunks = [slice(start, start + CHUNK_FRAMES) for start in range(0, len(xy), CHUNK_FRAMES)]
        groups = list(itertools.chain.from_iterable(map_chunks(group, chunks, xy.device)))
        frame_of = np.array([f for f, members in enumerate(groups) for _ in members], dtype=np.int64)
        member = np.array([m for members in groups for m in members], dtype=np.int64).reshape(-1, len(self._cameras))
        points, support = _triangulate_groups(xy, confidence, self._cameras, frame_of, member, self._settings)
        frame_of += self._frame_count
        self._track_of.append(
            self._tracks.link(range(self._frame_count, self._frame_count + len(xy)), frame_of, points)
        )
        self._frame_count += len(xy)
        self._frame_of.append(frame_of)
        self._member.append(member)
        self._support.append(support)
        self._spans.append(spans_of(points))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a group without a point has no place
            self._places.append(np.nanmedian(points, axis=1))

    def usual_span(self) -> float:
        """Median over all groups of the largest side of the box around a person, metres; NaN where there is none."""
        spans = np.concatenate([np.zeros(0), *self._spans])
        return float(np.median(spans)) if spans.size else float("nan")

    def slots(self, min_share: float | None = None) -> NDArray[np.int64]:
        """Return, for every frame so far, camera and person, the slot of the person's detection: (F, C, T), -1 where unseen.

        T people, those seen best first: the order is by the number of joints in views that agree, summed over the capture.
        min_share: as in the settings, where it is to be another.
        """
        C = len(self._cameras)
        frame_of = np.concatenate([np.zeros(0, dtype=np.int64), *self._frame_of])
        member = np.concatenate([np.zeros((0, C), dtype=np.int64), *self._member])
        track_of = np.concatenate([np.zeros(0, dtype=np.int64), *self._track_of])
        places = np.concatenate([np.zeros((0, 3)), *self._places])
        support = np.concatenate([np.zeros(0), *self._support])
        least = max(1, (self._settings.min_share if min_share is None else min_share) * self._frame_count)
        kept = _order_tracks(frame_of, track_of, places, support, least)
        slots = np.full((self._frame_count, C, len(kept)), -1)
        for person, track in enumerate(kept):
            rows = track_of == track
            slots[frame_of[rows], :, person] = member[rows]
        return slots


def _group_views(
    xy: Tensor, confidence: Tensor, cameras: CameraBatch, settings: AssociationSettings
) -> list[list[NDArray[np.int64]]]:
    """For every frame the groups of two detections or more, each as the slot in every camera, (C,), -1 for none."""
    F, C, P, _ = confidence.shape
    similarity = _pair_similarity(xy, confidence, cameras, settings.max_pair_distance).numpy()
    camera_of = np.repeat(np.arange(C), P)
    groups: list[list[NDArray[np.int64]]] = []
    for f in range(F):
        clusters = _join(similarity[f], camera_of)
        members = []
        for cluster in clusters:
            slots = np.full(C, -1)
            slots[camera_of[cluster]] = np.array(cluster) % P
            members.append(slots)
        groups.append(members)
    return groups


def _pair_similarity(xy: Tensor, confidence: Tensor, cameras: CameraBatch, limit: float) -> Tensor:
    """(F, CP, CP): how many joints say that two detections are one person, less those that deny it.

    Per joint the smallest distance of the two rays is turned into pixels, relative to the people's size in the picture;
    a joint counts 1 - distance / limit, at least -1. A sum, not a mean: the few joints of a fragment (a detector may cut one
    person into two) must not outbid the whole person. 0 where too few joints are in common: the legs that one view sees and
    the trunk that another sees neither are one person nor are not. 0 for one camera, too.
    """
    F, C, P, J = confidence.shape
    flat_xy = xy.permute(0, 2, 3, 1, 4).reshape(F * P * J, C, 2)
    normalised = cameras.undistort(flat_xy).reshape(F, P, J, C, 2).permute(0, 3, 1, 2, 4)
    seen = torch.isfinite(normalised).all(dim=-1) & (confidence > 0)
    homogeneous = torch.cat((normalised, torch.ones_like(normalised[..., :1])), dim=-1)
    directions = torch.einsum("cik,fcpji->kfcpj", cameras.rotation, homogeneous)
    directions = directions * directions.square().sum(dim=0).rsqrt()
    low = torch.where(seen[..., None], xy, torch.inf).amin(dim=3)
    high = torch.where(seen[..., None], xy, -torch.inf).amax(dim=3)
    size = (high - low).norm(dim=-1).clamp(min=MIN_EXTENT_PX)  # (F, C, P) px
    similarity = torch.zeros((F, C, P, C, P), dtype=xy.dtype)
    centres, focal = cameras.centres_world, cameras.matrix[:, 0, 0]
    for a, b in itertools.combinations(range(C), 2):
        # (F, Pa, Pb, J): how two rays pass each other. The length of their common perpendicular is the triple product of the
        # rays and the baseline over the sine of their angle.
        rays_a, rays_b = directions[:, :, a][:, :, :, None], directions[:, :, b][:, :, None]
        common = seen[:, a][:, :, None] & seen[:, b][:, None]
        baseline = (centres[b] - centres[a])[:, None, None, None, None]
        along_a, along_b = (rays_a * baseline).sum(dim=0), (rays_b * baseline).sum(dim=0)
        normal_b = torch.linalg.cross(rays_b, baseline.expand_as(rays_b), dim=0)
        cosine = _dot(rays_a, rays_b)
        sine2 = (1 - cosine * cosine).clamp(min=1e-9)
        reach_a = (along_a - cosine * along_b) / sine2
        reach_b = (cosine * along_a - along_b) / sine2
        gap = _dot(rays_a, normal_b).abs() * sine2.rsqrt()
        size_a, size_b = size[:, a][:, :, None, None], size[:, b][:, None, :, None]
        # Half of the gap falls to either view.
        relative = gap / 4 * (focal[a] / reach_a / size_a + focal[b] / reach_b / size_b)
        agreement = torch.where((reach_a > 0) & (reach_b > 0), (1 - relative / limit).clamp(min=-1), -1.0)
        total = torch.where(common, agreement, 0).sum(dim=-1)
        total = torch.where(common.sum(dim=-1) >= min(MIN_COMMON_JOINTS, J), total.nan_to_num(nan=0.0), 0)
        similarity[:, a, :, b] = total
        similarity[:, b, :, a] = total.transpose(1, 2)
    return similarity.reshape(F, C * P, C * P)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Scalar products of vectors (3, ...), broadcast without building them all out."""
    return torch.addcmul(torch.addcmul(a[0] * b[0], a[1], b[1]), a[2], b[2])


def _join(similarity: NDArray[np.float64], camera_of: NDArray[np.int64]) -> list[list[int]]:
    """Cluster detections that are similar, at most one per camera in a cluster; clusters of one are left out."""
    alive = np.flatnonzero((similarity > 0).any(axis=1))
    similarity, camera_of = similarity[np.ix_(alive, alive)], camera_of[alive]
    cluster_of = _settle(similarity, camera_of, _link_greedily(similarity, camera_of))
    clusters = [alive[cluster_of == cluster].tolist() for cluster in np.unique(cluster_of)]
    return [cluster for cluster in clusters if len(cluster) > 1]


def _link_greedily(similarity: NDArray[np.float64], camera_of: NDArray[np.int64]) -> NDArray[np.int64]:
    """Average linkage, the most similar first; returns the number of every detection's cluster, (N,)."""
    N = len(similarity)
    cluster_of = np.arange(N)
    # Sums over the pairs of members, so that joining two clusters is adding two rows. A row that was added is barred for good.
    total, size = similarity.copy(), np.ones(N)
    barred = camera_of[:, None] == camera_of
    while N:
        mean = np.where(barred, 0, total / (size[:, None] * size))
        i, j = np.unravel_index(np.argmax(mean), mean.shape)
        if mean[i, j] <= 0:
            break
        cluster_of[cluster_of == j] = i
        size[i] += size[j]
        total[i] += total[j]
        total[:, i] += total[:, j]
        barred[i] |= barred[j]
        barred[:, i] |= barred[:, j]
        barred[j] = barred[:, j] = True
    return cluster_of


def _settle(
    similarity: NDArray[np.float64], camera_of: NDArray[np.int64], cluster_of: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Move detections between clusters, changing places where one's place is taken, as long as the sum of similarities grows.

    Taking the most similar pair first goes wrong where it is a pair of strangers whose rays happen to meet: seen in one frame
    of twenty-four with two people who pass each other in front of four cameras.
    """
    N = len(similarity)
    everyone = np.arange(N)
    while N:
        cluster_of = np.unique(cluster_of, return_inverse=True)[1]
        inside = np.zeros((N, cluster_of.max() + 2))  # the last cluster is empty: one may leave
        inside[everyone, cluster_of] = 1
        support = similarity @ inside
        own = support[everyone, cluster_of]
        holder = np.full((camera_of.max() + 1, inside.shape[1]), -1)
        holder[camera_of, cluster_of] = everyone
        other = holder[camera_of]  # (N, K): who has the camera's place in a cluster
        changes_places = support[other, cluster_of[:, None]]
        loss = np.where(other >= 0, own[other] - np.maximum(changes_places, 0), 0)
        gain = support - own[:, None] - loss
        gain[everyone, cluster_of] = 0
        n, k = np.unravel_index(np.argmax(gain), gain.shape)
        # The sum grows with every move, so this ends; 1e-9 of a joint is rounding.
        if gain[n, k] <= 1e-9:
            break
        if other[n, k] >= 0:
            cluster_of[other[n, k]] = cluster_of[n] if changes_places[n, k] > 0 else inside.shape[1] - 1
        cluster_of[n] = k
    return cluster_of


def _triangulate_groups(
    xy: Tensor,
    confidence: Tensor,
    cameras: CameraBatch,
    frame_of: NDArray[np.int64],
    member: NDArray[np.int64],
    settings: AssociationSettings,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """3D joints (M, J, 3) of the groups, and how many detections of joints agree with them (M,)."""
    M, C = member.shape
    J = xy.shape[3]
    if M == 0:
        return np.zeros((0, J, 3)), np.zeros(0)
    frames = torch.from_numpy(frame_of)[:, None].expand(M, C)
    slots = torch.from_numpy(member)
    chosen_xy = xy[frames, torch.arange(C), slots.clamp(min=0)]  # (M, C, J, 2)
    chosen_confidence = confidence[frames, torch.arange(C), slots.clamp(min=0)] * (slots >= 0)[..., None]
    seen = (chosen_confidence > 0)[..., None]
    size = torch.where(seen, chosen_xy, -torch.inf).amax(dim=2) - torch.where(seen, chosen_xy, torch.inf).amin(dim=2)
    extent = size.norm(dim=-1).clamp(min=MIN_EXTENT_PX)
    threshold = (extent * settings.max_pair_distance).nan_to_num(nan=1.0, posinf=1.0)  # (M, C)
    result = triangulate_robust(
        chosen_xy.transpose(1, 2).reshape(M * J, 1, C, 2),
        chosen_confidence.transpose(1, 2).reshape(M * J, 1, C),
        cameras,
        threshold.repeat_interleave(J, dim=0),
    )
    support = result.inliers.reshape(M, J * C).sum(dim=-1)
    return result.points_world.reshape(M, J, 3).numpy(), support.numpy().astype(np.float64)


def spans_of(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest side (metres) of the box around every group of points (M, J, 3) that has two or more."""
    finite = np.asarray(np.isfinite(points).all(axis=-1, keepdims=True))
    points, finite = points[finite.sum(axis=(1, 2)) >= 2], finite[finite.sum(axis=(1, 2)) >= 2]
    side = np.where(finite, points, -np.inf).max(axis=1, initial=-np.inf) - np.where(finite, points, np.inf).min(
        axis=1, initial=np.inf
    )
    spans: NDArray[np.float64] = side.max(axis=-1)
    return spans


def _order_tracks(
    frame_of: NDArray[np.int64],
    track_of: NDArray[np.int64],
    places: NDArray[np.float64],
    support: NDArray[np.float64],
    least: float,
) -> list[int]:
    """Return the tracks that are seen in `least` frames or more, best-supported first."""
    tracks, first, count = np.unique(track_of, return_index=True, return_counts=True)
    total = np.bincount(track_of, weights=support, minlength=tracks.max() + 1 if len(tracks) else 0)
    # Equals are told apart by when and where they first stand, not by the order of the detector's list.
    order = {
        int(track): (-float(total[track]), float(frame_of[row]), *np.nan_to_num(places[row]).tolist())
        for track, row, frames in zip(tracks, first, count, strict=True)
        if frames >= least
    }
    return sorted(order, key=order.__getitem__)


def take_people(keypoints: Keypoints2D, slots: NDArray[np.int64]) -> Keypoints2D:
    """Return the keypoints with person t in slot t of every view; slots as from `associate_people`."""
    F, C, T = slots.shape
    frames, cameras = np.arange(F)[:, None, None], np.arange(C)[None, :, None]
    if keypoints.xy.shape[2] == 0:  # nobody in any view of these frames, but T people in the capture
        blank = np.zeros((F, C, T, keypoints.skeleton.joint_count), dtype=np.float32)
        return replace(keypoints, xy=np.full((*blank.shape, 2), np.nan), confidence=blank)
    chosen, there = np.maximum(slots, 0), slots >= 0
    xy = np.where(there[..., None, None], keypoints.xy[frames, cameras, chosen], np.nan)
    confidence = np.where(there[..., None], keypoints.confidence[frames, cameras, chosen], 0)
    return replace(keypoints, xy=xy, confidence=confidence)
