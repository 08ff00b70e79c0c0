"""Who is who: which detections of the views are one person, and which people of the frames are one person over time.

Across views: every two detections of different cameras are compared by how many of their joints' rays meet; detections are
then joined greedily, best pair first, as long as the groups agree on average and hold one detection per camera, and moved
between the groups as long as that makes them agree better. No combination of cameras is enumerated. Over time: groups are
linked to the nearest track of the frames before.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from posekit.camera import CameraBatch, Rig
from posekit.errors import PosekitError
from posekit.geometry.triangulation import triangulate_robust
from posekit.keypoints import Keypoints2D

#: Fewer joints in common say nothing about two detections being one person: one pair of rays may meet by chance. Two are
#: enough for an arm of which the views see wrist and elbow; as similarities are sums, they are joined after everyone else.
MIN_COMMON_JOINTS = 2

#: What is seen of a person counts as at least this large (px): the box round a forearm says little of how far the rays of a
#: detector and a rig that err by some pixels may miss each other.
MIN_EXTENT_PX = 130.0

#: Frames compared at once: 31 cameras with 10 slots each are 25 MB of similarities.
CHUNK_FRAMES = 32

#: People usually move at 1.5 m/s, which is this share of the 10 m/s that a step may have.
USUAL_SHARE = 0.15


@dataclass(frozen=True)
class AssociationSettings:
    """What counts as one person.

    max_pair_distance: how far the rays of two views may miss each other, as a share of the person's size in the picture
    (diagonal of the box around the joints). On a rig with 10 px of error and people 900 px tall, true pairs were seen at 0.002
    to 0.024, wrong ones from 0.03 on.
    max_step: how far (metres, median over joints) a person may move in a thirtieth of a second or less; the allowance grows
    with the root of the time. max_gap: seconds after which a person who was lost is a new one (or three steps from frame to
    frame, where these are longer). Keypoints that name no rate count as 30 frames per second.
    min_share: people seen (by two views or more) in fewer than this share of the frames are left out.
    """

    max_pair_distance: float = 0.06
    max_step: float = 0.35
    max_gap: float = 2.0
    min_share: float = 0.1


def associate_people(
    keypoints: Keypoints2D, rig: Rig, settings: AssociationSettings | None = None
) -> NDArray[np.int64]:
    """Return, for every frame, camera and person, the slot of the person's detection: (F, C, T), -1 where unseen.

    T people, those seen best first: the order is by the number of joints in views that agree, summed over the capture.
    keypoints and rig must have the same cameras in the same order. Only the part ``body`` is looked at where there is one.
    The people of a view may stand in any order, in every frame another. Raises PosekitError where frames are out of order.
    """
    settings = settings or AssociationSettings()
    if (np.diff(keypoints.frames) <= 0).any():
        raise PosekitError(f"{keypoints.source}: the frame numbers do not ascend")
    skeleton = keypoints.skeleton
    joints = skeleton.part("body") if "body" in skeleton.parts else np.arange(skeleton.joint_count)
    xy = torch.from_numpy(keypoints.xy[:, :, :, joints].astype(np.float64))
    confidence = torch.from_numpy(keypoints.confidence[:, :, :, joints].astype(np.float64))
    cameras = CameraBatch.from_rig(rig)
    groups = [
        members
        for start in range(0, len(xy), CHUNK_FRAMES)
        for members in _group_views(
            xy[start : start + CHUNK_FRAMES], confidence[start : start + CHUNK_FRAMES], cameras, settings
        )
    ]
    frame_of = np.array([f for f, members in enumerate(groups) for _ in members], dtype=np.int64)
    member = np.array([m for members in groups for m in members], dtype=np.int64).reshape(-1, len(rig))
    points, support = _triangulate_groups(xy, confidence, cameras, frame_of, member, settings)
    track_of = _link_over_time(frame_of, points, keypoints.frames, keypoints.fps or 30.0, settings)
    return _order_tracks(frame_of, member, track_of, points, support, len(groups), settings)


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
    directions = torch.einsum("cik,fcpji->fcpjk", cameras.rotation, homogeneous)
    directions = torch.nn.functional.normalize(directions, dim=-1)
    low = torch.where(seen[..., None], xy, torch.inf).amin(dim=3)
    high = torch.where(seen[..., None], xy, -torch.inf).amax(dim=3)
    size = (high - low).norm(dim=-1).clamp(min=MIN_EXTENT_PX)  # (F, C, P) px
    similarity = torch.zeros((F, C, P, C, P), dtype=xy.dtype)
    centres, focal = cameras.centres_world, cameras.matrix[:, 0, 0]
    for a, b in itertools.combinations(range(C), 2):
        # (F, Pa, Pb, J): the common perpendicular of two rays.
        rays_a, rays_b = directions[:, a][:, :, None], directions[:, b][:, None]
        common = seen[:, a][:, :, None] & seen[:, b][:, None]
        cosine = (rays_a * rays_b).sum(dim=-1)
        baseline = centres[b] - centres[a]
        along_a, along_b = (rays_a * baseline).sum(dim=-1), (rays_b * baseline).sum(dim=-1)
        sine2 = (1 - cosine * cosine).clamp(min=1e-9)
        reach_a = (along_a - cosine * along_b) / sine2
        reach_b = (cosine * along_a - along_b) / sine2
        gap = (baseline + reach_b[..., None] * rays_b - reach_a[..., None] * rays_a).norm(dim=-1)
        size_a, size_b = size[:, a][:, :, None, None], size[:, b][:, None, :, None]
        # Half of the gap falls to either view.
        relative = gap / 4 * (focal[a] / reach_a / size_a + focal[b] / reach_b / size_b)
        agreement = torch.where((reach_a > 0) & (reach_b > 0), (1 - relative / limit).clamp(min=-1), -1.0)
        total = torch.where(common, agreement, 0).sum(dim=-1)
        total = torch.where(common.sum(dim=-1) >= MIN_COMMON_JOINTS, total.nan_to_num(nan=0.0), 0)
        similarity[:, a, :, b] = total
        similarity[:, b, :, a] = total.transpose(1, 2)
    return similarity.reshape(F, C * P, C * P)


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


def _link_over_time(
    frame_of: NDArray[np.int64],
    points: NDArray[np.float64],
    frames: NDArray[np.int64],
    fps: float,
    settings: AssociationSettings,
) -> NDArray[np.int64]:
    """Give every group the number of its track, (M,)."""
    track_of = np.full(len(frame_of), -1)
    # Where each joint of a track was last seen, (J, 3), and when, (J,) frame numbers.
    last_points: list[NDArray[np.float64]] = []
    last_seen: list[NDArray[np.int64]] = []
    typical_step = float(np.median(np.diff(frames))) if len(frames) > 1 else 1.0
    max_gap = max(settings.max_gap * fps, 3 * typical_step)
    for place, f in enumerate(frames.tolist()):
        here = np.flatnonzero(frame_of == place)
        active = [t for t in range(len(last_seen)) if f - last_seen[t].max() <= max_gap]
        if len(here) and active:
            cost = np.array(
                [
                    [_step_cost(last_points[t], points[m], (f - last_seen[t]) / fps, settings.max_step) for m in here]
                    for t in active
                ]
            )
            possible = np.isfinite(cost)
            for row, column in zip(*linear_sum_assignment(np.where(possible, cost, 1e6)), strict=True):
                if possible[row, column]:
                    track_of[here[column]] = active[row]
        for m in here:
            known = np.isfinite(points[m]).all(axis=-1)
            if track_of[m] < 0:
                track_of[m] = len(last_seen)
                last_points.append(points[m])
                last_seen.append(np.full(len(known), f))
            else:
                last_points[track_of[m]] = np.where(known[:, None], points[m], last_points[track_of[m]])
                last_seen[track_of[m]] = np.where(known, f, last_seen[track_of[m]])
    return track_of


def _step_cost(
    before: NDArray[np.float64], after: NDArray[np.float64], age: NDArray[np.float64], max_step: float
) -> float:
    """How unlikely it is that joints (J, 3) went from before to after; inf where that is too far or none is in common.

    age: (J,) seconds since each joint was seen. A joint that was hidden for a while may have gone on walking: the arm that
    comes back after two seconds must not speak against the trunk that was seen all the time.
    """
    allowed = max_step * np.sqrt(np.maximum(30 * age, 1))
    share = np.linalg.norm(before - after, axis=-1) / allowed
    common = np.isfinite(share)
    if not common.any():
        return np.inf
    share, allowed = share[common], allowed[common]
    # A joint counts as much as its allowance is narrow: legs that were last seen two seconds ago outnumber the head of the last
    # frame, but fit whoever stands nearer to there by now. Where there are but old positions, these decide.
    median = _weighted_median(share, 1 / allowed)
    if median >= 1:
        return np.inf
    # Log-likelihood of a normally distributed step, as wide as the time allows. Without the second term, whoever walks through
    # the place where somebody got lost becomes the lost one, to whom more is allowed.
    return float((median / USUAL_SHARE) ** 2 / 2 - 3 * np.log((1 / allowed).mean()))


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Median of (N,) values, N > 0; the plain one where the weights are equal."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    # 1e-9: sums of equal weights are equal but for rounding.
    ends = np.searchsorted(reached, reached[-1] / 2 * np.array((1 - 1e-9, 1 + 1e-9)))
    return float(values[order][ends].mean())


def _order_tracks(
    frame_of: NDArray[np.int64],
    member: NDArray[np.int64],
    track_of: NDArray[np.int64],
    points: NDArray[np.float64],
    support: NDArray[np.float64],
    frame_count: int,
    settings: AssociationSettings,
) -> NDArray[np.int64]:
    """Slots (F, C, T) of the tracks that last long enough, best-supported first."""
    numbers = np.unique(track_of)
    kept = [t for t in numbers if (track_of == t).sum() >= max(1, settings.min_share * frame_count)]

    def place_in_order(t: int) -> tuple[float, ...]:
        rows = np.flatnonzero(track_of == t)
        # Equals are told apart by when and where they first stand, not by the order of the detector's list.
        first = np.median(np.nan_to_num(points[rows[0]]), axis=0)
        return (-float(support[rows].sum()), float(frame_of[rows[0]]), *first.tolist())

    kept.sort(key=place_in_order)
    slots = np.full((frame_count, member.shape[1], len(kept)), -1)
    for place, t in enumerate(kept):
        rows = track_of == t
        slots[frame_of[rows], :, place] = member[rows]
    return slots


def take_people(keypoints: Keypoints2D, slots: NDArray[np.int64]) -> Keypoints2D:
    """Return the keypoints with person t in slot t of every view; slots as from `associate_people`."""
    F, C, T = slots.shape
    frames, cameras = np.arange(F)[:, None, None], np.arange(C)[None, :, None]
    if keypoints.xy.shape[2] == 0:
        T = 0
    chosen = np.maximum(slots[..., :T], 0)
    there = slots[..., :T] >= 0
    xy = np.where(there[..., None, None], keypoints.xy[frames, cameras, chosen], np.nan)
    confidence = np.where(there[..., None], keypoints.confidence[frames, cameras, chosen], 0)
    return Keypoints2D(
        xy, confidence, keypoints.cameras, keypoints.frames, keypoints.skeleton, keypoints.fps, keypoints.source
    )
