"""The pose of a skeleton tree in every frame, as it is being fitted.

First down the tree, where every rotation has a closed form, then rounds of Gauss-Newton steps on the weighted squares of
the distances between the tree's joints and where they were measured. All frames at once.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.spatial.transform import Rotation

from posekit.motion.skeleton_tree import Aim, SkeletonTree

Array = NDArray[np.float64]

#: Pull of the rest pose on a rotation that the joints do not determine, as a share of what determines it: far below any
#: measurement's noise, far above rounding.
_PULL = 1e-6
#: Weight of what says how a bone is turned about itself, beside its own direction; it is at right angles to that and does not
#: move it.
_AIM = 1e-3
#: Pseudo-points at 3 mm hold a rotation about a nearly straight limb to what it was, against noise.
_DAMPING = 0.003**2
#: Reach of a finger and no more, in metres: joints that turn so little hardly move what the others are fitted to, and the many
#: of a hand would make the equations three times as large.
_SHORT = 0.12
#: How far, in metres, joints of one piece must lie off a line to say how it is rolled; `improve` takes out what it bends.
_LINE = 0.001
#: Decay, both ways in time, of what a bent elbow or knee says of the limb's roll.
_ROLL_FRAMES = 10


def cross_matrices(vectors: Array) -> Array:
    """Matrices (..., 3, 3) that multiply as v x does."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    return np.stack((zero, -z, y, z, zero, -x, -y, x, zero), axis=-1).reshape(*vectors.shape, 3)


def nearest_rotation(products: Array) -> Array:
    """Rotation R that maximizes tr(R^T H), (..., 3, 3); H is the sum of w v s^T for R s near v. Kabsch (1976)."""
    left, _, right = np.linalg.svd(products)
    proper = np.sign(np.linalg.det(left @ right))
    left = left.copy()
    left[..., -1] *= np.where(proper == 0, 1.0, proper)[..., None]
    turn: Array = left @ right
    return turn


def _roll(turned: Array, bone: Array, rest: Array, axis: Array) -> Array:
    """Turn (F, 3, 3) about the bone (F, 3), so that a hinge's axis in the rest pose, (3,), comes to where it was measured.

    axis: (F, 3), as long as the sine of the bend. A straight limb has no axis, and one that is bent a little backward by noise
    has it the wrong way round: the angle is smoothed over time, by the square of the sine.
    """
    bone = bone / np.maximum(np.linalg.norm(bone, axis=1, keepdims=True), 1e-9)
    here = turned @ rest
    size = np.linalg.norm(axis, axis=1)
    angle = np.arctan2((np.cross(here, axis) * bone).sum(axis=1), (here * axis).sum(axis=1))
    signal = size**2 * np.exp(1j * angle)
    keep = np.exp(-1 / _ROLL_FRAMES)
    smooth = lfilter([1], [1, -keep], signal) + lfilter([1], [1, -keep], signal[::-1])[::-1] - signal
    # A limb that is never bent is not rolled.
    roll = np.angle(smooth + 1e-3)
    return Rotation.from_rotvec(roll[:, None] * bone).as_matrix() @ turned


class TreePose:
    """Rotations `turned` (F, N, 3, 3) in the world and places (F, N, 3) of all joints, as the fit goes on.

    known: (F, N), whether anything measured determined the rotation.
    """

    def __init__(self, tree: SkeletonTree, offsets: Array, points: Array, weights: Array) -> None:
        F, N = len(points), len(tree.joints)
        self.tree, self.offsets, self.points, self.weights = tree, offsets, points, weights
        self.turned = np.broadcast_to(np.eye(3), (F, N, 3, 3)).copy()
        self.place = np.zeros((F, N, 3))
        self.known = np.zeros((F, N), dtype=bool)
        #: Levenberg's damping of every frame: more after a step that made it worse.
        self.caution = np.ones(F)
        counted = [joint.point for joint in tree.joints]
        # A helper stands where a joint stands that counts already.
        self.weight = weights[:, counted] * ~np.array([joint.helper for joint in tree.joints])
        self.target = points[:, counted]
        self.below = [self._everything_below(number) for number in range(N)]
        self.long = [number for number in range(N) if self._reach(number) > _SHORT]

    def _everything_below(self, joint: int) -> list[int]:
        found = []
        for child in self.tree.children(joint):
            found += [child, *self._everything_below(child)]
        return found

    def _reach(self, joint: int) -> float:
        """Length of the longest chain of bones that hangs on a joint, metres."""
        return max(
            (float(np.linalg.norm(self.offsets[c])) + self._reach(c) for c in self.tree.children(joint)), default=0.0
        )

    def descend(self) -> None:
        """Go down the tree: each rotation brings the joint's own children nearest to where they were measured."""
        for number, joint in enumerate(self.tree.joints):
            parent = joint.parent
            if parent == -1:
                self.place[:, 0] = self._root_place()
            else:
                self.turned[:, number] = self.turned[:, parent]
                self.place[:, number] = self.place[:, parent] + self.turned[:, parent] @ self.offsets[number]
            members = self.tree.moved(number)
            if not members:
                self.known[:, number] = True  # nothing hangs on it: it is not turned
                continue
            weight = self.weights[:, [self.tree.joints[member].point for member in members]]
            vectors = self.points[:, [self.tree.joints[member].point for member in members]] - self.place[:, [number]]
            rest = self.offsets[members]
            self.known[:, number] = (weight > 0).any(axis=1)
            products = np.einsum("fn,fni,nj->fij", weight, vectors, rest)
            size = np.einsum("fn,nj->f", weight, rest**2)[:, None, None]
            hinged = joint.aim is not None and len(joint.aim.points) == 3
            if joint.aim is not None and not hinged:
                products += (
                    size * _AIM * self._across(joint.aim, rest, vectors, weight)[:, :, None] * np.array(joint.aim.rest)
                )
            # Of several joints nearly on a line only noise says how the line is rolled.
            line = _LINE**2 * weight.sum(axis=1)[:, None, None] if len(members) > 1 and parent != -1 else 0.0
            held = (_PULL * np.maximum(size, 1e-9) + line) * self.turned[:, number]
            self.turned[:, number] = nearest_rotation(products + held)
            if joint.aim is not None and hinged:
                axis = self._across(joint.aim, rest, vectors, weight)
                self.turned[:, number] = _roll(self.turned[:, number], vectors[:, 0], np.array(joint.aim.rest), axis)

    def _root_place(self) -> Array:
        """Where the root is: measured, or the middle of what there is, which `improve` then sets right."""
        there = self.weight > 0
        count = np.maximum(there.sum(axis=1), 1)
        middle = (self.target * there[..., None]).sum(axis=1) / count[:, None]
        return np.where(there[:, :1], self.target[:, 0], middle)

    def _across(self, aim: Aim, rest: Array, vectors: Array, weight: Array) -> Array:
        """The aim's direction as measured, (F, 3), at right angles to the bone; a hinge's is as long as the sine of its bend.

        Zero where it was not measured.
        """
        a, b, *c = (self.points[:, point] for point in aim.points)
        measured = np.cross(b - a, c[0] - b) if c else b - a
        length = (
            np.linalg.norm(b - a, axis=1) * np.linalg.norm(c[0] - b, axis=1) if c else np.linalg.norm(b - a, axis=1)
        )
        measured = np.where(length[:, None] > 1e-9, measured / np.maximum(length, 1e-9)[:, None], 0.0)
        measured *= np.asarray((self.weights[:, list(aim.points)] > 0).all(axis=1))[:, None]
        # Of several bones (the hips): at right angles to the longest, as the others line up with it.
        main = int(np.linalg.norm(rest, axis=1).argmax())
        along = vectors[:, main] if len(rest) == 1 else np.einsum("fn,fni->fi", weight * (rest @ rest[main]), vectors)
        along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
        across: Array = measured - (measured * along).sum(axis=1, keepdims=True) * along
        return across

    def improve(self) -> float:
        """One round: the long levers and the root's place together, then every short one over what hangs on it.

        Returns the share of the weighted squares that is left.
        """
        before = self._cost(self.place).sum()
        self._improve_together([0] if len(self.tree.joints) == 1 else self.long)
        for number, below in enumerate(self.below):
            if below and number not in self.long:
                self._improve_alone(number, below)
        return float(self._cost(self.place).sum() / max(before, 1e-12))

    def _improve_together(self, joints: list[int]) -> None:
        """A Gauss-Newton step of the root's place and the rotations of `joints`; kept in the frames that it makes better."""
        F, N, _ = self.place.shape
        # d place / d (shift, rotation vectors): the identity, and -[arm]x where the joint hangs on the one that turns.
        slope = np.zeros((F, N, 3, 3 + 3 * len(joints)))
        slope[..., :3] = np.eye(3)
        for column, number in enumerate(joints):
            arm = self.place[:, self.below[number]] - self.place[:, [number]]
            slope[:, self.below[number], :, 3 + 3 * column : 6 + 3 * column] = cross_matrices(-arm)
        root = np.sqrt(self.weight)[..., None]
        residual = (root * (self.target - self.place)).reshape(F, 3 * N, 1)
        slope = (root[..., None] * slope).reshape(F, 3 * N, -1)
        held = np.stack([self.weight[:, self.below[number]].sum(axis=1) for number in joints], axis=1)
        held = np.concatenate((np.full((F, 3), 1e-12), np.repeat(_DAMPING * held + 1e-12, 3, axis=1)), axis=1)
        normal = slope.swapaxes(1, 2) @ slope
        normal[:, np.arange(held.shape[1]), np.arange(held.shape[1])] += self.caution[:, None] * held
        step = np.linalg.solve(normal, slope.swapaxes(1, 2) @ residual)[..., 0]
        turns = np.broadcast_to(np.eye(3), (F, N, 3, 3)).copy()
        turns[:, joints] = Rotation.from_rotvec(step[:, 3:].reshape(-1, 3)).as_matrix().reshape(F, -1, 3, 3)
        place, turned = self.place.copy(), self.turned.copy()
        place[:, 0] += step[:, :3]
        for number, joint in enumerate(self.tree.joints):
            turn = turns[:, number]
            if joint.parent != -1:
                place[:, number] = place[:, joint.parent] + turned[:, joint.parent] @ self.offsets[number]
                # What the parent was turned by carries this joint along.
                turn = turned[:, joint.parent] @ self.turned[:, joint.parent].swapaxes(1, 2) @ turn
            turned[:, number] = turn @ self.turned[:, number]
        better = self._cost(place) < self._cost(self.place)
        self.place[better], self.turned[better] = place[better], turned[better]
        self.caution = np.clip(np.where(better, self.caution / 10, 100 * self.caution), 1.0, 1e6)

    def _cost(self, place: Array) -> Array:
        cost: Array = (self.weight * ((self.target - place) ** 2).sum(axis=-1)).sum(axis=1)
        return cost

    def _improve_alone(self, number: int, below: list[int]) -> None:
        arm = self.place[:, below] - self.place[:, [number]]
        weight = self.weight[:, below]
        pull = np.cross(arm, self.target[:, below] - self.place[:, below]) * weight[..., None]
        # d/dw of |target - place - w x arm|^2: the inertia of what is turned.
        inertia = np.einsum("fn,fn->f", weight, (arm**2).sum(axis=-1))[:, None, None] * np.eye(3)
        inertia -= np.einsum("fn,fni,fnj->fij", weight, arm, arm)
        held = _DAMPING * weight.sum(axis=1) + 1e-12
        step = np.linalg.solve(inertia + held[:, None, None] * np.eye(3), pull.sum(axis=1)[..., None])[..., 0]
        turn = Rotation.from_rotvec(step).as_matrix()
        self.place[:, below] = self.place[:, [number]] + np.einsum("fij,fnj->fni", turn, arm)
        for other in (number, *below):
            self.turned[:, other] = turn @ self.turned[:, other]

    def local(self) -> NDArray[np.float32]:
        """Rotations in the parents' frames as quaternions (F, N, 4)."""
        parents = [max(joint.parent, 0) for joint in self.tree.joints]
        local = self.turned[:, parents].swapaxes(-1, -2) @ self.turned
        local[:, 0] = self.turned[:, 0]
        quaternions = Rotation.from_matrix(local.reshape(-1, 3, 3)).as_quat()
        return quaternions.reshape(*local.shape[:2], 4).astype(np.float32)
