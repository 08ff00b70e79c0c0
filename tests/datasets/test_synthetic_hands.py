import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.nn import functional

from posekit.datasets.hand_looks import BARE, sample_looks
from posekit.datasets.hand_model import ANGLE_COUNT, ANGLES, HandShapes, PosedHands, pose_hands, sample_shapes
from posekit.datasets.hand_poses import sample_poses
from posekit.datasets.hand_renderer import CameraViews, render_hands
from posekit.datasets.held_objects import BOX, CYLINDER, ELLIPSOID, NOTHING, HeldObjects
from posekit.datasets.photo_effects import damage_pictures
from posekit.datasets.synthetic_hands import (
    HandFraming,
    SyntheticHands,
    frame_hands,
    random_rotations,
    turned_to_camera,
)
from posekit.errors import PosekitError

SIZE = 96
# x right, y down: the palm faces the camera, fingers up, and the back of the hand does.
FROM_PALM = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
FROM_BACK = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))


def seen_from(rotation: torch.Tensor, **degrees: float) -> tuple[PosedHands, CameraViews]:
    angles = torch.zeros(1, ANGLE_COUNT)
    for name, value in degrees.items():
        angles[0, ANGLES.index(name)] = float(np.deg2rad(value))
    hands = pose_hands(HandShapes(torch.ones(1, 19, 3)), angles)
    away = torch.tensor([[0.0, 0.0, 0.6]]) - rotation @ torch.tensor([0.0, 0.07, 0.0])
    views = CameraViews(torch.tensor([SIZE * 0.6 / 0.3]), torch.full((1, 2), (SIZE - 1) / 2))
    return hands.moved(rotation[None], away), views


def look() -> object:
    return sample_looks(np.random.default_rng(0), 1, bare_share=1.0)


@pytest.fixture(scope="module")
def drawn():
    data = SyntheticHands(11, SIZE)
    return data.draw(np.random.default_rng(0), 24)


def test_batches_are_the_same_for_the_same_seed_and_index_only():
    data = SyntheticHands(4, 64)
    first, again = data.batch(7, 3), SyntheticHands(4, 64).batch(7, 3)
    for name in ("images", "joints_px", "visible", "box_px", "seen_px"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert first.images.dtype == torch.uint8
    assert first.images.shape == (3, 3, 64, 64)
    others = [
        data.batch(8, 3),
        SyntheticHands(5, 64).batch(7, 3),
        SyntheticHands(4, 64, split="validation").batch(7, 3),
    ]
    assert not any(torch.equal(first.joints_px, other.joints_px) for other in others)
    joints = first.joints_px.numpy()
    np.testing.assert_allclose(first.box_px, np.ptp(joints, axis=1).max(axis=1), rtol=1e-6)
    # Hands in pictures that were shrunk are of fewer pixels, of a quarter at least.
    many = SyntheticHands(4, 64).batch(9, 16)
    kept = many.seen_px / many.box_px
    assert ((kept > 0.24) & (kept <= 1)).all()
    # Less detail is left of pictures that were shrunk to a half.
    detail = many.images.float().diff(dim=-1).abs().mean((1, 2, 3))
    assert detail[kept < 0.6].mean() < detail[kept == 1].mean()


def test_unknown_split_is_a_clear_mistake():
    with pytest.raises(PosekitError, match="'test', expected one of training, validation"):
        SyntheticHands(0, split="test")


def test_labels_are_the_projection_of_the_joints_and_fill_the_frame():
    framing = HandFraming(scale=(1.0, 1.0), rotation=0.0, jitter=0.0)
    data = SyntheticHands(2, SIZE, framing=framing)
    pictures = data.draw(np.random.default_rng(1), 16)
    joints, pixels = pictures.joints.double().numpy(), pictures.joints_px.double().numpy()
    # Oracle: one focal length and principal point per picture must explain all 42 numbers, by least squares.
    for world, seen in zip(joints, pixels, strict=True):
        rays = world[:, :2] / world[:, 2:]
        system = np.zeros((42, 3))
        system[0::2] = np.stack([rays[:, 0], np.ones(21), np.zeros(21)], axis=1)
        system[1::2] = np.stack([rays[:, 1], np.zeros(21), np.ones(21)], axis=1)
        found, *_ = np.linalg.lstsq(system, seen.ravel(), rcond=None)
        # 1e-3 px: single precision.
        np.testing.assert_allclose(system @ found, seen.ravel(), atol=1e-3)
        assert found[0] > 0
    box = np.ptp(pixels, axis=1).max(axis=1)
    np.testing.assert_allclose(box, SIZE / 2.2, rtol=1e-4)
    np.testing.assert_allclose((pixels.min(1) + pixels.max(1)) / 2, (SIZE - 1) / 2, atol=1e-3)
    assert (pixels > -0.5).all()
    assert (pixels < SIZE - 0.5).all()


def test_hands_stand_upright():
    framing = HandFraming(rotation=0.0, knuckles_share=0.0, shown_share=0.0)
    pictures = SyntheticHands(9, SIZE, framing=framing).draw(np.random.default_rng(2), 40)
    middle, wrist = pictures.joints_px[:, 9], pictures.joints_px[:, 0]
    # The knuckles lie above the wrist, but for hands that bend far at the wrist or point at the camera.
    assert (middle[:, 1] < wrist[:, 1]).float().mean() > 0.8


def test_hands_stand_upright_by_their_knuckles_as_well():
    rng = np.random.default_rng(3)
    shapes = sample_shapes(rng, 200)
    hands = pose_hands(shapes, sample_poses(rng, shapes))

    def tilts(share: float) -> np.ndarray:
        seen, views = frame_hands(
            np.random.default_rng(4), hands, 128, HandFraming(rotation=0.0, distance=(50.0, 50.0), knuckles_share=share)
        )
        pixels = views.project(seen.joints)
        along = pixels[:, 9] - pixels[:, 0]
        return torch.atan2(along[:, 0], -along[:, 1]).abs().numpy()

    # From 50 m there is no perspective to speak of: the knuckle is right above the wrist.
    assert tilts(1.0).max() < 0.02
    assert np.quantile(tilts(0.0), 0.9) > 0.3
    assert 0.4 < (tilts(0.5) < 0.02).mean() < 0.65


def test_directions_are_turned_to_the_camera_by_the_shortest_way():
    rotations = random_rotations(np.random.default_rng(5), 50)
    directions = torch.from_numpy(np.random.default_rng(6).normal(size=(50, 3)).astype(np.float32))
    directions = directions / directions.norm(dim=1, keepdim=True)
    rotations[0], directions[0] = torch.eye(3), torch.tensor([0.0, 0.0, 1.0])  # the other way
    turned = turned_to_camera(rotations, directions)
    camera = torch.tensor([0.0, 0.0, -1.0])
    torch.testing.assert_close((turned @ directions[..., None])[..., 0], camera.expand(50, 3), rtol=0, atol=1e-5)
    turn = Rotation.from_matrix((turned @ rotations.mT).double().numpy())  # which refuses what is no rotation
    needed = np.arccos(
        ((rotations @ directions[..., None])[..., 0].double().numpy() @ camera.double().numpy()).clip(-1, 1)
    )
    np.testing.assert_allclose(turn.magnitude(), needed, atol=1e-3)


def test_what_is_held_is_often_shown_to_the_camera():
    rng = np.random.default_rng(3)
    shapes = sample_shapes(rng, 400)
    hands = pose_hands(shapes, sample_poses(rng, shapes))
    holding = np.arange(400) < 200

    def towards_camera(share: float, given: np.ndarray | None) -> np.ndarray:
        """Cosine between the palm's bones and the way to the camera."""
        seen, _ = frame_hands(np.random.default_rng(4), hands, 128, HandFraming(shown_share=share), given)
        palm, place = seen.joints[:, 9] - seen.joints[:, 0], -seen.joints[:, 9]
        return functional.cosine_similarity(palm, place).numpy()

    from_anywhere = towards_camera(1.0, None)
    found = towards_camera(1.0, holding)
    # Normal errors of 0.6 across a unit vector: half of the directions lie within 36 degrees (drawn a million times).
    assert 0.7 < np.median(found[:200]) < 0.87
    assert abs(np.median(found[200:])) < 0.15
    assert abs(np.median(from_anywhere)) < 0.15
    half = towards_camera(0.5, holding)
    assert np.median(found[:200]) > np.median(half[:200]) > 0.15


def test_lens_distortion_follows_opencv():
    cv2 = pytest.importorskip("cv2")
    points = torch.tensor([[[0.1, -0.2, 0.9], [-0.3, 0.1, 1.2]]])
    views = CameraViews(torch.tensor([500.0]), torch.tensor([[320.0, 240.0]]), torch.tensor([[-0.2, 0.05]]))
    matrix = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
    expected, _ = cv2.projectPoints(
        points[0].double().numpy(), np.zeros(3), np.zeros(3), matrix, np.array([-0.2, 0.05, 0, 0])
    )
    # 1e-3 px: single precision.
    np.testing.assert_allclose(views.project(points)[0], expected[:, 0], atol=1e-3)


def test_colours_are_premultiplied_and_in_range(drawn):
    rgba = drawn.rgba
    assert rgba.dtype == torch.float32
    assert float(rgba.min()) >= 0
    # Half of a pixel's averaging error in single precision.
    assert float((rgba[:, :3] - rgba[:, 3:]).max()) < 1e-5
    assert float(rgba[:, 3].max()) <= 1
    share = rgba[:, 3].mean(dim=(1, 2))
    assert (share > 0.03).all()
    assert (share < 0.9).all()


def test_joints_lie_on_the_drawn_hand(drawn):
    at = drawn.joints_px.round().long().clamp(0, SIZE - 1)
    alpha = drawn.rgba[:, 3][torch.arange(24)[:, None], at[..., 1], at[..., 0]]
    # A visible joint lies inside flesh; one in a thousand may sit on the silhouette of a bent fingertip.
    assert (alpha[drawn.visible] > 0.5).float().mean() > 0.999
    # Nothing but the hand, or what it holds, can hide a joint here: hidden joints lie on something drawn as well.
    inside = ((drawn.joints_px > -0.5) & (drawn.joints_px < SIZE - 0.5)).all(-1)
    assert (alpha[inside & ~drawn.visible] > 0.5).float().mean() > 0.99
    assert 0.3 < drawn.visible.float().mean() < 0.95
    assert not (drawn.visible & ~inside).any()


def test_open_palm_shows_every_finger_and_a_fist_from_behind_hides_the_tips():
    hands, views = seen_from(FROM_PALM)
    open_hand = render_hands(hands, views, look(), (SIZE, SIZE))
    assert open_hand.visible[0].all()
    curled = {f"{f}_{j}_flexion": v for f in ("index", "middle", "ring", "little")
              for j, v in (("mcp", 85), ("pip", 100), ("dip", 60))}  # fmt: skip
    hands, views = seen_from(FROM_BACK, **curled)
    behind = render_hands(hands, views, look(), (SIZE, SIZE))
    tips_and_middles = [7, 8, 11, 12, 15, 16, 19, 20]
    assert not behind.visible[0, tips_and_middles].any()
    assert behind.visible[0, [5, 9, 13, 17]].all()
    hands, views = seen_from(FROM_PALM, **curled)
    before = render_hands(hands, views, look(), (SIZE, SIZE))
    assert before.visible[0, [7, 11, 15, 19]].all()
    assert not before.visible[0, [9, 13]].any()


def test_the_thumb_is_drawn_on_the_right_of_the_palm_and_nails_on_the_back():
    hands, views = seen_from(FROM_PALM)
    looks = look()
    green = torch.tensor([[0.0, 1.0, 0.0]])
    painted = type(looks)(**{**vars(looks), "nail": green, "light": torch.tensor([[0.0, 0.0, -1.0]])})

    def greenness(hands: PosedHands, views: CameraViews) -> float:
        rgb = render_hands(hands, views, painted, (SIZE, SIZE)).rgba[0, :3]
        return float((rgb[1] - rgb[0] > 0.3).float().sum())

    palm = render_hands(hands, views, painted, (SIZE, SIZE))
    alpha = palm.rgba[0, 3]
    # Between the wrist and the knuckles the hand's outline reaches further to the right, where the thumb is.
    row = int((palm.joints_px[0, 3, 1]).round())
    columns = alpha[row].nonzero()[:, 0]
    middle = palm.joints_px[0, 9, 0]
    assert columns.max() - middle > 1.5 * (middle - columns.min())
    back, back_views = seen_from(FROM_BACK)
    assert greenness(back, back_views) > 20
    assert greenness(hands, views) < 5


@pytest.mark.parametrize("kind", [BOX, CYLINDER, ELLIPSOID])
def test_a_thing_hides_what_lies_behind_it_and_nothing_else(kind):
    hands, views = seen_from(FROM_PALM)
    knuckle = hands.joints[:, 9].clone()
    knuckle[:, 2] -= 0.06
    thing = HeldObjects(
        kind=torch.tensor([kind]),
        centre=knuckle,
        axes=torch.eye(3)[None],
        half=torch.full((1, 3), 0.015),
        colour=torch.tensor([[[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]]),
        stripe=torch.tensor([[0.0, 10.0]]),
    )
    pictures = render_hands(hands, views, look(), (SIZE, SIZE), objects=thing)
    assert not pictures.visible[0, 9]
    assert pictures.visible[0, [0, 4, 8, 12, 16, 20]].all()
    x, y = pictures.joints_px[0, 9].round().long().tolist()
    assert pictures.rgba[0, 2, y, x] > pictures.rgba[0, 0, y, x] + 0.2
    nothing = type(thing)(**{**vars(thing), "kind": torch.tensor([NOTHING])})
    assert render_hands(hands, views, look(), (SIZE, SIZE), objects=nothing).visible[0].all()


def test_a_touching_finger_and_a_crossing_thing_hide_by_depth():
    """By hand: a ball of radius r before a fingertip hides it, the same ball behind it does not."""
    hands, views = seen_from(FROM_PALM)
    for offset, expected in ((-0.03, False), (0.03, True)):
        centre = hands.joints[:, 12].clone()
        centre[:, 2] += offset
        ball = HeldObjects(
            kind=torch.tensor([ELLIPSOID]),
            centre=centre,
            axes=torch.eye(3)[None],
            half=torch.full((1, 3), 0.008),
            colour=torch.ones(1, 2, 3),
            stripe=torch.zeros(1, 2),
        )
        visible = render_hands(hands, views, look(), (SIZE, SIZE), objects=ball).visible[0]
        assert bool(visible[12]) is expected
        assert visible[[j for j in range(21) if j != 12]].all()


def test_children_s_open_hands_are_all_visible():
    views = seen_from(FROM_PALM)[1]
    shapes = sample_shapes(np.random.default_rng(5), 40)
    smallest = HandShapes(shapes.scale[shapes.scale[:, 0, 1].argsort()[:3]])
    hands = pose_hands(smallest, torch.zeros(3, ANGLE_COUNT)).moved(
        FROM_PALM.expand(3, 3, 3), torch.tensor([[0.0, 0.05, 0.5]]).expand(3, 3)
    )
    three = CameraViews(views.focal.expand(3), views.centre.expand(3, 2))
    looks = sample_looks(np.random.default_rng(0), 3, bare_share=1.0)
    assert render_hands(hands, three, looks, (SIZE, SIZE)).visible.all()


def test_hands_drawn_together_are_the_same_as_one_by_one():
    data = SyntheticHands(11, SIZE)
    rng = np.random.default_rng(0)
    shapes = sample_shapes(rng, 5)
    hands, views = frame_hands(rng, pose_hands(shapes, sample_poses(rng, shapes)), SIZE, data.framing)
    looks = sample_looks(rng, 5)
    together = render_hands(hands, views, looks, (SIZE, SIZE))
    for i in range(5):
        one = slice(i, i + 1)
        alone = render_hands(
            hands.take(one), CameraViews(views.focal[one], views.centre[one]), looks.take(one), (SIZE, SIZE)
        )
        # 1e-4 of full scale: sums in another order.
        torch.testing.assert_close(alone.rgba[0], together.rgba[i], atol=1e-4, rtol=0)
        assert torch.equal(alone.visible[0], together.visible[i])


def test_every_tensor_follows_the_hands_device():
    data = SyntheticHands(1, 48)
    data.draw(np.random.default_rng(0), 1)
    # What is made without a word about its device would land on "meta" here, and could not meet the others.
    with torch.device("meta"):
        drawn = data.draw(np.random.default_rng(1), 6)
    assert drawn.rgba.device.type == "cpu"


def test_a_glove_hides_skin_nails_and_rings_under_one_colour():
    hands, views = seen_from(FROM_PALM)
    gloved = sample_looks(np.random.default_rng(2), 1, bare_share=1.0, glove_share=1.0)
    values = {
        **vars(gloved),
        "glove": torch.tensor([[0.0, 0.0, 0.6]]),
        "glove_end": torch.tensor([0.05]),
        "gloss": torch.zeros(1),
    }
    values["light_colour"] = values["sky"] = values["ground"] = torch.full((1, 3), 0.6)
    rgb = render_hands(hands, views, type(gloved)(**values), (SIZE, SIZE))
    at = rgb.joints_px[0].round().long()
    colour = rgb.rgba[0, :3, at[:, 1], at[:, 0]]
    assert (colour[2] > 0.3).all()
    # Gamma 2 of next to nothing.
    assert (colour[:2] < 0.1).all()
    bare = sample_looks(np.random.default_rng(2), 50, glove_share=0.0)
    assert (bare.glove_end == BARE).all()


def test_a_hand_outside_the_picture_leaves_it_empty():
    hands, views = seen_from(FROM_PALM)
    aside = CameraViews(views.focal, views.centre + 10_000)
    pictures = render_hands(hands, aside, look(), (SIZE, SIZE))
    assert not pictures.rgba.any()
    assert not pictures.visible.any()


def test_a_cameras_faults_change_pictures_but_not_what_they_show():
    pictures = torch.full((200, 3, 64, 64), 64 / 255)
    pictures[..., 32:] = 191 / 255
    (damaged, kept), (again, _) = (damage_pictures(np.random.default_rng(0), pictures.clone()) for _ in range(2))
    assert torch.equal(damaged, again)
    halves = damaged.float().unflatten(-1, (2, 32)).mean(dim=(1, 2, 4))
    # Blur takes some light over the edge, 4 of 127 at most here; a shift by one pixel of 32 would.
    assert (halves - torch.tensor([64.0, 191.0])).abs().max() < 6
    untouched = (damaged == torch.tensor([64, 191]).repeat_interleave(32)).flatten(1).all(1).float().mean()
    # By the shares in `_damage`, 0.78 * 0.75 * 0.5 * 0.5 * 0.5 = 7 % meet no fault; a picture this plain survives some JPEGs.
    assert 0.05 < untouched < 0.2
    # 55 % are shrunk, to a quarter at worst; of 64 px whole ones are left.
    assert 0.4 < (kept < 1).float().mean() < 0.7
    assert kept.amin() >= 0.25
    torch.testing.assert_close(64 * kept, (64 * kept).round())
