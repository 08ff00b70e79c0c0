import numpy as np
import pytest
import torch

from posekit.datasets.hand_grips import _MEAN_PALM, BALL, BAR, EMPTY, PEN, SHEET, Grips, place_objects, sample_grips
from posekit.datasets.hand_model import ANGLE_LIMITS_DEGREES, HandShapes, PosedHands, pose_hands, sample_shapes
from posekit.datasets.hand_poses import sample_poses
from posekit.datasets.held_objects import BOX, CYLINDER, ELLIPSOID, NOTHING, HeldObjects

COUNT = 300


@pytest.fixture(scope="module")
def held() -> tuple[PosedHands, Grips, HeldObjects]:
    rng = np.random.default_rng(0)
    shapes = sample_shapes(rng, COUNT)
    grips, angles = sample_grips(rng, shapes, sample_poses(rng, shapes), 0.9)
    degrees = np.rad2deg(angles.double().numpy())
    # 1e-4 degrees: single precision radians.
    assert (degrees >= ANGLE_LIMITS_DEGREES[:, 0] - 1e-4).all()
    assert (degrees <= ANGLE_LIMITS_DEGREES[:, 1] + 1e-4).all()
    hands = pose_hands(shapes, angles)
    return hands, grips, place_objects(rng, hands, grips)


def outside(things: HeldObjects, points: torch.Tensor) -> torch.Tensor:
    """Metres (B,N) from points (B,N,3) to the surface of things that are not ellipsoids; negative within."""
    local = (points - things.centre[:, None]) @ things.axes.transpose(1, 2)
    over = local.abs() - things.half[:, None]
    round_over = local[..., :2].norm(dim=-1) - things.half[:, None, 0]
    is_round = (things.kind == CYLINDER)[:, None]
    sides = torch.where(is_round, torch.maximum(round_over, over[..., 2]), over.amax(-1))
    return torch.where(
        (things.kind == ELLIPSOID)[:, None], local.norm(dim=-1) - things.half.mean(1, keepdim=True), sides
    )


def test_shares_and_shapes_are_those_asked_for(held):
    _, grips, things = held
    # Five standard deviations of a share of 0.9 in 300.
    assert (grips.kind != EMPTY).mean() == pytest.approx(0.9, abs=0.09)
    kind, shape = torch.from_numpy(grips.kind), things.kind
    assert ((kind == EMPTY) == (shape == NOTHING)).all()
    assert (shape[kind == BALL] == ELLIPSOID).all()
    assert (shape[kind == SHEET] == BOX).all()
    assert (shape[kind == PEN] == CYLINDER).all()
    assert set(shape[kind == BAR].tolist()) == {BOX, CYLINDER}
    product = things.axes @ things.axes.transpose(1, 2)
    # 1e-5: single precision.
    torch.testing.assert_close(product, torch.eye(3).expand(COUNT, 3, 3), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kind", "touching"), [(BAR, 3), (BALL, 3), (SHEET, 2), (PEN, 2)])
def test_fingers_touch_what_they_hold(held, kind, touching):
    hands, grips, things = held
    mine = torch.from_numpy(grips.kind) == kind
    # The middles of the phalanges, where flesh touches; joints stand off from what is round.
    first = [2, 3, *(j for f in range(4) for j in range(5 + 4 * f, 8 + 4 * f))]
    second = [j + 1 for j in first]
    middles = 0.5 * (hands.joints[:, first] + hands.joints[:, second])
    gap = outside(things, middles)[mine] - 0.5 * (hands.radii[:, first] + hands.radii[:, second])[mine]
    # Within 6 mm: fingers are not all alike, nor do they all touch.
    near = (gap.abs() < 6e-3).sum(1)
    assert (near >= touching).float().mean() > 0.85


def test_bones_keep_out_of_what_is_held(held):
    hands, grips, things = held
    for kind in (BAR, BALL, SHEET):
        mine = torch.from_numpy(grips.kind) == kind
        # The thumb of a hand with a sheet may be on it askew; fingers' bones lie outside, but for 4 mm of poor fit.
        buried = outside(things, hands.joints[:, 5:])[mine] < -4e-3
        assert buried.float().mean() < 0.06, kind


def test_boards_are_larger_sheets_that_lie_in_the_hand_as_well(held):
    hands, grips, things = held
    sheets = torch.from_numpy(grips.kind) == SHEET
    boards = place_objects(np.random.default_rng(7), hands, grips, board_share=1.0)
    # Extents of at most 0.16 x 0.20 m for a mean hand; boards' are 2.2 times as far.
    size = (hands.joints[:, 9] - hands.joints[:, 0]).norm(dim=1, keepdim=True)[sheets]
    extents, larger = (thing.half[sheets][:, [0, 2]] / size for thing in (things, boards))
    assert (larger.amin(0) > 2 * extents.amin(0)).all()
    assert (larger.amax(0) > 1.8 * extents.amax(0)).all()
    buried = outside(boards, hands.joints[:, 5:])[sheets] < -4e-3
    assert buried.float().mean() < 0.06


def test_plates_lie_between_the_pads_of_thumb_and_fingers():
    rng = np.random.default_rng(0)
    shapes = sample_shapes(rng, COUNT)
    grips, angles = sample_grips(rng, shapes, sample_poses(rng, shapes), 0.9, plate_share=1.0)
    hands = pose_hands(shapes, angles)
    things = place_objects(rng, hands, grips)
    sheets = torch.from_numpy(grips.kind) == SHEET
    size = (hands.joints[:, 9] - hands.joints[:, 0]).norm(dim=1)[sheets] / _MEAN_PALM
    # The pads as `_PLATES` has them.
    thumb = 0.4 * hands.joints[sheets, 3] + 0.6 * hands.joints[sheets, 4]
    fingers = hands.joints[sheets][:, [7, 8, 11, 12]].mean(1)
    centre, normal = things.centre[sheets], things.axes[sheets, 1]
    sides = [((place - centre) * normal).sum(-1) for place in (thumb, fingers)]
    # Hands differ in their proportions, so that a few pads do not leave room for a sheet.
    assert (sides[0] * sides[1] < 0).float().mean() > 0.88
    # The thumb lies behind the fingers, not beside them.
    apart = fingers - thumb
    across = (apart - normal * (apart * normal).sum(-1, keepdim=True)).norm(dim=1) / size
    assert across.median() < 0.010
    assert (across < 0.015).float().mean() > 0.9
    buried = outside(things, hands.joints[:, 5:])[sheets] < -4e-3
    assert buried.float().mean() < 0.02


def test_a_thing_moves_with_its_hand(held):
    hands, _, things = held
    rotation = torch.linalg.qr(torch.randn(COUNT, 3, 3, generator=torch.Generator().manual_seed(0))).Q
    rotation = rotation * torch.linalg.det(rotation)[:, None, None]
    shift = torch.arange(3.0).expand(COUNT, 3)
    before = outside(things, hands.joints)
    after = outside(things.moved(rotation, shift), hands.moved(rotation, shift).joints)
    # 1e-5 m: single precision at some metres.
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0)


def test_nobody_holds_anything_at_share_0():
    rng = np.random.default_rng(1)
    shapes = HandShapes(torch.ones(4, 19, 3))
    angles = sample_poses(rng, shapes)
    grips, kept = sample_grips(rng, shapes, angles, 0.0)
    assert (grips.kind == EMPTY).all()
    # 1e-6 rad: to degrees and back.
    torch.testing.assert_close(kept, angles, atol=1e-6, rtol=0)
