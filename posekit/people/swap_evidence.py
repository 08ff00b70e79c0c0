"""What speaks for left and right being exchanged: the limbs, the 3D that views agree on, and the evidence of every view.

Evidence is in nats, the difference of two log-likelihoods of normally distributed errors that are cut off where a detection is
simply elsewhere.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from posekit.camera import CameraBatch
from posekit.geometry.projection import points_in_cameras
from posekit.geometry.symmetric import solve_symmetric, sum_of_outer
from posekit.skeleton import Skeleton

#: Beyond so many sigma a detection is somewhere else, and how far does not matter.
CUT_SIGMAS = 4.0
CUT = CUT_SIGMAS**2 / 2

#: A view agrees with a point within so many sigma.
AGREE_SIGMAS = 3.0

#: Evidence that a switch must have to be thrown. A pair of joints that is plainly exchanged yields 16.
SWITCH = 10.0
#: A single pair needs more: there are many of them, and a joint that is hidden and guessed is often taken for its partner.
PAIR_SWITCH = 12.0

#: Pairs of the views that see most of a limb are tried: 5 views give 10 pairs. A limb is judged by at most 6 pairs of joints.
HYPOTHESIS_VIEWS = 5
HYPOTHESIS_PAIRS = 6

#: Of the 21 pairs of the hands' joints so many tell whether the hands are worth a closer look.
SCREENED_HAND_PAIRS = 3

#: Widths of the robust fit, in sigma: from a start that wrong views have dragged away to what the right ones say.
_WIDTHS = (16.0, 8.0, 4.0)

_ARMS = ("shoulder", "elbow", "wrist", "clavicle", "collar", "hand", "thumb", "index", "pinky", "finger")
_LEGS = ("hip", "knee", "ankle", "toe", "heel", "foot", "leg")


@dataclass(frozen=True)
class Limb:
    """Pairs of joints that a detector exchanges together. splits: a single pair of them may be exchanged as well."""

    name: str
    left: tuple[int, ...]
    right: tuple[int, ...]
    splits: bool


def limbs_of(skeleton: Skeleton) -> tuple[Limb, ...]:
    """Group the left/right pairs of a skeleton into arms, legs, head and hands; those of which it has none are left out."""
    in_hands = {joint for part in ("left_hand", "right_hand") for joint in skeleton.parts.get(part, ())}

    def limb_of(joint: int) -> str:
        if joint in in_hands:
            return "hands"
        name = skeleton.joints[joint]
        if any(word in name for word in _LEGS):
            return "legs"
        return "arms" if any(word in name for word in _ARMS) else "head"

    pairs: dict[str, list[tuple[int, int]]] = {"arms": [], "legs": [], "head": [], "hands": []}
    for left, right in skeleton.left_right:
        pairs[limb_of(left)].append((left, right))
    # The joints of a hand come from one crop: a hand is the other one as a whole.
    return tuple(
        Limb(name, tuple(a for a, _ in held), tuple(b for _, b in held), name != "hands")
        for name, held in pairs.items()
        if held
    )


def mirror_of(skeleton: Skeleton) -> Tensor:
    """Index of every joint's partner on the other side, (J,); of a joint in the middle its own."""
    mirror = torch.arange(skeleton.joint_count)
    for left, right in skeleton.left_right:
        mirror[left], mirror[right] = right, left
    return mirror


def screening_joints(limbs: Sequence[Limb]) -> tuple[list[int], tuple[Limb, ...]]:
    """Joints that tell whether anything may be wrong, and the limbs in terms of their places among these.

    All pairs of the body, and of hands, which are exchanged as a whole, a few: they would be most of the work.
    """
    joints: list[int] = []
    screened = []
    for limb in limbs:
        step = 1 if limb.splits else -(-len(limb.left) // SCREENED_HAND_PAIRS)
        sides = []
        for side in (limb.left[::step], limb.right[::step]):
            sides.append(tuple(range(len(joints), len(joints) + len(side))))
            joints += side
        screened.append(Limb(limb.name, sides[0], sides[1], limb.splits))
    return joints, tuple(screened)


def partners(limbs: Sequence[Limb]) -> Tensor:
    """`mirror_of` for joints that are all in limbs."""
    mirror = torch.empty(2 * sum(len(limb.left) for limb in limbs), dtype=torch.long)
    for limb in limbs:
        mirror[list(limb.left)] = torch.tensor(limb.right)
        mirror[list(limb.right)] = torch.tensor(limb.left)
    return mirror


@dataclass(frozen=True)
class Views:
    """Detections of N people (a person in a frame each) in all views, as rays without the lens.

    weight: 0 where there is no detection. sigma: expected error of a detection, px an axis.
    """

    normalised: Float[Tensor, "N J C 2"]
    directions: Float[Tensor, "N J C 3"]
    weight: Float[Tensor, "N J C"]
    cameras: CameraBatch
    mirror: Tensor
    sigma: float

    @classmethod
    def of(
        cls,
        xy: Float[Tensor, "N J C 2"],
        confidence: Float[Tensor, "N J C"],
        cameras: CameraBatch,
        mirror: Tensor,
        sigma: float,
    ) -> "Views":
        """Undistort detections in pixels, NaN where there are none."""
        normalised = cameras.undistort(xy)
        seen = torch.isfinite(normalised).all(dim=-1) & (confidence > 0)
        normalised = torch.where(seen[..., None], normalised, 0)
        x, y = normalised[..., :1], normalised[..., 1:]
        directions = x * cameras.rotation[:, 0] + y * cameras.rotation[:, 1] + cameras.rotation[:, 2]
        directions = torch.nn.functional.normalize(directions, dim=-1)
        return cls(normalised, directions, torch.where(seen, confidence, 0), cameras, mirror, sigma)

    def rows(self, rows: Tensor) -> "Views":
        """Return some of the people."""
        return Views(
            self.normalised[rows], self.directions[rows], self.weight[rows], self.cameras, self.mirror, self.sigma
        )

    def exchanged(self, values: Tensor, swapped: Bool[Tensor, "N J C"]) -> Tensor:
        """Values (N, J, C, ...) with those of the partner where a joint is swapped."""
        shape = swapped.shape + (1,) * (values.ndim - swapped.ndim)
        return torch.where(swapped.reshape(shape), values[:, self.mirror], values)

    def fit(self, swapped: Bool[Tensor, "N J C"], start: Float[Tensor, "N J 3"] | None = None) -> Tensor:
        """Robust 3D points (N, J, 3) of detections after an exchange; NaN where fewer than two views see the joint.

        Least squares on the distance to the rays, in pixels, reweighted after Geman and McClure from wide to narrow. A start is
        believed: from there the narrowest width only.
        """
        normalised = self.exchanged(self.normalised, swapped)
        directions = self.exchanged(self.directions, swapped)
        weight = self.exchanged(self.weight, swapped)
        points = _nearest_points(directions, weight, self.cameras)
        if start is not None:
            points = torch.where(torch.isfinite(start), start, points)
        for width in _WIDTHS if start is None else _WIDTHS[-1:]:
            error = _errors(points, normalised, self.cameras)
            points = _nearest_points(directions, weight / (1 + (error / (width * self.sigma)) ** 2) ** 2, self.cameras)
        return torch.where(((weight > 0).sum(dim=-1) >= 2)[..., None], points, torch.nan)

    def misses(self, points: Float[Tensor, "N J 3"]) -> Bool[Tensor, "N J C"]:
        """Tell which detections do not agree with the points."""
        return (self.weight > 0) & ~(_errors(points, self.normalised, self.cameras) < AGREE_SIGMAS * self.sigma)

    def costs(
        self, points: Float[Tensor, "N J 3"], swapped: Bool[Tensor, "N J C"] | None
    ) -> tuple[Float[Tensor, "N J C"], Float[Tensor, "N J C"]]:
        """Cost in nats of every detection as it is, and as its partner's; 0 for both where nothing can be said.

        Something can be said where two other views or more agree on both points: what a view took part in cannot be held
        against it, and two views agree on nearly anything. swapped: the exchange that the points were made with; where it is
        not known, a view agrees if it does in either order.
        """
        as_is = _errors(points, self.normalised, self.cameras)
        crossed = _errors(points[:, self.mirror], self.normalised, self.cameras)
        # Who agrees with which point, after the exchange: the crossed error of a detection is one with its partner's point.
        seen = self.weight > 0
        agree_as_is = seen & (as_is < AGREE_SIGMAS * self.sigma)
        agree_crossed = (seen & (crossed < AGREE_SIGMAS * self.sigma))[:, self.mirror]
        agrees = agree_as_is | agree_crossed if swapped is None else torch.where(swapped, agree_crossed, agree_as_is)
        others = agrees.sum(dim=-1, keepdim=True) - agrees.long()
        known = seen & (others >= 2) & (others[:, self.mirror] >= 2)
        cost = [
            torch.where(known, ((error / self.sigma) ** 2 / 2).clamp(max=CUT), 0.0).nan_to_num(nan=0.0)
            for error in (as_is, crossed)
        ]
        return cost[0], cost[1]


def _errors(points: Tensor, normalised: Tensor, cameras: CameraBatch) -> Tensor:
    """Distance in px, without the lens, between points (N, J, 3) and detections (N, J, C, 2); inf behind a camera."""
    points_cam = points_in_cameras(points, cameras.rotation, cameras.translation)
    depth = points_cam[..., 2]
    offset = points_cam[..., :2] / depth.clamp(min=1e-9)[..., None] - normalised
    return torch.where(depth > 0, offset.norm(dim=-1) * cameras.matrix[:, 0, 0], torch.inf)


def _nearest_points(directions: Tensor, weight: Tensor, cameras: CameraBatch) -> Tensor:
    """Points (N, J, 3) nearest to all rays, in weighted least squares of metres beside the ray."""
    centres = cameras.centres_world
    total = weight.sum(dim=-1, keepdim=True)
    outer = sum_of_outer(directions * weight.sqrt()[..., None])
    normal = total * outer.new_tensor((1.0, 0.0, 0.0, 1.0, 0.0, 1.0)) - outer
    along = (directions * centres).sum(dim=-1, keepdim=True)
    right = ((centres - along * directions) * weight[..., None]).sum(dim=-2)
    return solve_symmetric(normal, right)


def pair_costs(
    as_is: Float[Tensor, "N J C"], crossed: Float[Tensor, "N J C"], limb: Limb
) -> tuple[Float[Tensor, "N K C"], Float[Tensor, "N K C"]]:
    """Costs of a limb's pairs as they are, and exchanged."""
    left, right = list(limb.left), list(limb.right)
    return as_is[:, left] + as_is[:, right], crossed[:, left] + crossed[:, right]


def limb_costs(kept: Float[Tensor, "N K C"], crossed: Float[Tensor, "N K C"], splits: bool) -> tuple[Tensor, Tensor]:
    """Costs (N, C) of a limb as it is and exchanged, where single pairs may differ at the price of a switch."""
    if not splits:
        return kept.sum(dim=1), crossed.sum(dim=1)
    return torch.minimum(kept, crossed + PAIR_SWITCH).sum(dim=1), torch.minimum(crossed, kept + PAIR_SWITCH).sum(dim=1)


def throw_switches(
    as_is: Float[Tensor, "N J C"],
    crossed: Float[Tensor, "N J C"],
    limbs: Sequence[Limb],
    barred: Bool[Tensor, "N L"],
) -> Bool[Tensor, "N J C"]:
    """Find the cheapest state of all switches of every view: which joints are swapped.

    barred: limbs that must stay as they are. The tree is whole over limbs over pairs, hands under arms; its minimum is exact.
    """
    names = [limb.name for limb in limbs]
    pairs = [pair_costs(as_is, crossed, limb) for limb in limbs]
    costs = [limb_costs(*pair, limb.splits) for pair, limb in zip(pairs, limbs, strict=True)]
    parent = {"hands": "arms"} if "arms" in names else {}
    # From the leaves to the root: what a limb costs, its followers included, in either state.
    below = {name: torch.stack(cost) for name, cost in zip(names, costs, strict=True)}
    for child, head in parent.items():
        if child in below:
            below[head] = below[head] + torch.minimum(below[child], below[child].flip(0) + SWITCH)
    tops = [name for name in names if name not in parent]
    whole = sum(torch.minimum(below[name], below[name].flip(0) + SWITCH) for name in tops)
    assert isinstance(whole, Tensor)
    thrown = whole[1] + SWITCH < whole[0]
    # And back from the root to the leaves.
    state: dict[str, Tensor] = {}
    swapped = torch.zeros(as_is.shape, dtype=torch.bool)
    for name in sorted(names, key=lambda name: name in parent):
        above = state[parent[name]] if name in parent else thrown
        follows = torch.where(above, below[name][1], below[name][0])
        differs = torch.where(above, below[name][0], below[name][1])
        state[name] = above ^ (differs + SWITCH < follows)
    for number, (limb, (kept, turned)) in enumerate(zip(limbs, pairs, strict=True)):
        limb_state = state[limb.name][:, None].expand(kept.shape)
        if limb.splits:
            follows, differs = torch.where(limb_state, turned, kept), torch.where(limb_state, kept, turned)
            limb_state = limb_state ^ (differs + PAIR_SWITCH < follows)
        limb_state = limb_state & ~barred[:, number, None, None]
        swapped[:, list(limb.left)] = limb_state
        swapped[:, list(limb.right)] = limb_state
    return swapped


def best_hypothesis(views: Views, limb: Limb) -> tuple[Float[Tensor, "N 2K 3"], Tensor]:
    """Guess a limb's points, left ones first, from every two views in either relative order; keep what explains most views.

    Returns the points, NaN where unknown, in the order of joints `limb.left`, `limb.right`, and the balance (N,): by how many
    views those that have left and right as the points outnumber those that have them exchanged.
    """
    every = range(0, len(limb.left), -(-len(limb.left) // HYPOTHESIS_PAIRS))
    judged = Limb(limb.name, tuple(limb.left[k] for k in every), tuple(limb.right[k] for k in every), limb.splits)
    joints = list(judged.left + judged.right)
    K = len(judged.left)
    mirror = torch.cat((torch.arange(K, 2 * K), torch.arange(K)))
    small = Views(
        views.normalised[:, joints],
        views.directions[:, joints],
        views.weight[:, joints],
        views.cameras,
        mirror,
        views.sigma,
    )
    seen = small.weight > 0
    N, _, C = seen.shape
    rows = torch.arange(N)
    most_seen = seen.sum(dim=1).topk(min(HYPOTHESIS_VIEWS, C), dim=-1).indices
    best_cost = torch.full((N,), torch.inf, dtype=small.weight.dtype)
    best_points = torch.full((N, 2 * K, 3), torch.nan, dtype=small.weight.dtype)
    best_balance = torch.zeros_like(best_cost)
    for (first, second), turned in itertools.product(
        itertools.combinations(range(most_seen.shape[1]), 2), (False, True)
    ):
        a, b = most_seen[:, first], most_seen[:, second]
        weight = torch.zeros_like(small.weight)
        weight[rows, :, a] = seen[rows, :, a].to(weight)
        weight[rows, :, b] = seen[rows, :, b].to(weight)
        swapped = torch.zeros_like(seen)
        swapped[rows, :, b] = turned
        points = _nearest_points(
            small.exchanged(small.directions, swapped), small.exchanged(weight, swapped), small.cameras
        )
        points = torch.where((small.exchanged(weight, swapped).sum(dim=-1) == 2)[..., None], points, torch.nan)
        cost, balance = _explain(small, points, judged)
        better = cost < best_cost
        best_cost = torch.where(better, cost, best_cost)
        best_points = torch.where(better[:, None, None], points, best_points)
        best_balance = torch.where(better, balance, best_balance)
    full = torch.full((N, 2 * len(limb.left), 3), torch.nan, dtype=small.weight.dtype)
    full[:, [side * len(limb.left) + k for side in (0, 1) for k in every]] = best_points
    return full, best_balance


def _explain(views: Views, points: Tensor, limb: Limb) -> tuple[Tensor, Tensor]:
    """Cost (N,) of a limb's points if every view has its cheaper order, and the views' balance (N,)."""
    seen = views.weight > 0
    costs = []
    for placed in (points, points[:, views.mirror]):
        error = _errors(placed, views.normalised, views.cameras)
        cost = ((error / views.sigma) ** 2 / 2).nan_to_num(nan=torch.inf).clamp(max=CUT)
        costs.append(torch.where(seen, cost, 0))
    K = len(limb.left)
    pairs = [cost[:, :K] + cost[:, K:] for cost in costs]
    kept, crossed = limb_costs(pairs[0], pairs[1], limb.splits)
    # A view has one vote, fully where the evidence is worth a switch.
    balance = ((crossed - kept) / SWITCH).clamp(-1, 1).sum(dim=-1)
    minority = (crossed < kept - SWITCH).sum(dim=-1).minimum((kept < crossed - SWITCH).sum(dim=-1))
    return torch.minimum(kept, crossed).sum(dim=-1) + SWITCH * minority, balance
