"""Lifting: what it must not depend on, bad input, and the weight file."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from posekit.errors import PosekitError
from posekit.lifting.lifter import LIFTER_WEIGHTS, Lifter, load_lifter, read_lifter_training, save_lifter
from posekit.lifting.networks import build_generator
from posekit.lifting.normalisation import align_to_template, normalise_views, to_one_size
from posekit.lifting.settings import PUBLISHED, RepNetSettings
from posekit.lifting.skeletons import LIFTER_15, REPNET_16
from posekit.lifting.windows import window_rows
from tests.lifting.small_sources import StickPeople, StickViews

TEMPORAL = RepNetSettings(width=32, blocks=1, frames=5, learned_elevation=True)


def random_lifter(settings: RepNetSettings | None = None, skeleton=LIFTER_15) -> Lifter:
    torch.manual_seed(0)
    settings = settings or RepNetSettings(width=32, blocks=1)
    return Lifter(skeleton, settings, build_generator(skeleton, settings).eval().requires_grad_(False), 0.27)


def views(count: int = 20, missing: float = 0.0) -> np.ndarray:
    return StickViews(missing=missing).draw(count, np.random.default_rng(0)).xy


def test_normalisation_by_hand() -> None:
    xy = torch.tensor([[[1.0, 5.0], [3.0, 9.0], [torch.nan, 2.0]]], dtype=torch.float64)
    out, centre, scale = normalise_views(xy, torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64))
    assert centre.tolist() == [[[2, 7]]]
    # Deviations 1, 2, 1, 2: their mean square is 2.5.
    assert scale.item() == pytest.approx(2.5**0.5)
    assert torch.allclose(out[0, :2] * 2.5**0.5, torch.tensor([[-1.0, -2.0], [1.0, 2.0]], dtype=torch.float64))
    assert out[0, 2].tolist() == [0, 0]


def test_one_size() -> None:
    from posekit.lifting.kcs import bone_matrix

    poses = torch.from_numpy(StickPeople().draw(5, np.random.default_rng(1)))
    matrix = bone_matrix(LIFTER_15.bones, 15).double()
    sized = to_one_size(3.7 * poses + 5, matrix)
    assert torch.allclose(sized, to_one_size(poses, matrix))
    assert torch.allclose((matrix.T @ sized).norm(dim=-1).mean(dim=1), torch.ones(5, dtype=torch.float64))


def test_alignment_finds_the_turn() -> None:
    rng = np.random.default_rng(2)
    template = rng.normal(size=(6, 3))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.linalg.det(turn)
    on = torch.tensor([0, 2, 3, 5])
    aligned = align_to_template(torch.from_numpy((template @ turn.T + 4.0)[None]), torch.from_numpy(template), on)
    expected = template - template[on.numpy()].mean(axis=0)
    np.testing.assert_allclose(aligned[0].numpy(), expected, atol=1e-12)  # float64


@pytest.mark.parametrize("settings", [RepNetSettings(width=32, blocks=1), replace(PUBLISHED, width=32), TEMPORAL])
def test_scale_and_place_in_the_picture_do_not_matter(settings) -> None:
    lifter, xy = random_lifter(settings), views()
    here, there = lifter.lift(xy), lifter.lift(0.13 * xy + (4000, -300))
    np.testing.assert_allclose(there.xyz, here.xyz, atol=2e-4)  # float32 through the network
    np.testing.assert_allclose(there.px_per_metre, 0.13 * here.px_per_metre, rtol=1e-3)  # as above


def test_people_are_of_mean_height_and_centred() -> None:
    lifted = random_lifter().lift(views(missing=0.1))
    bones = np.array(LIFTER_15.bones)
    lengths = np.linalg.norm(lifted.xyz[:, bones[:, 1]] - lifted.xyz[:, bones[:, 0]], axis=-1)
    np.testing.assert_allclose(lengths.mean(axis=1), 0.27, rtol=1e-5)  # float32
    assert (lifted.xyz[:, LIFTER_15.index("mid_hip")] == 0).all()


@pytest.mark.parametrize("frames", [1, 5])
def test_px_per_metre_gives_the_picture_back(frames: int) -> None:
    settings = RepNetSettings(width=32, blocks=1, perspective=False, frames=frames)
    lifter = random_lifter(settings)
    with torch.no_grad():
        for value in lifter.generator.parameters():
            value.zero_()
    # A generator that changes nothing: x and y are the view's, without depth.
    xy = views()
    lifted = lifter.lift(xy)
    hip = xy[:, :1]
    np.testing.assert_allclose(
        lifted.xyz[..., :2] * lifted.px_per_metre[:, None, None], xy - hip, atol=1e-2
    )  # px, float32
    assert (lifted.xyz[..., 2] == 0).all()


@pytest.mark.parametrize("settings", [RepNetSettings(width=32, blocks=1), TEMPORAL])
def test_mirrored_people_are_lifted_to_mirror_images(settings) -> None:
    lifter, xy = random_lifter(settings), views()
    mirror = LIFTER_15.mirror
    here, there = lifter.lift(xy).xyz, lifter.lift(xy[:, mirror] * (-1, 1)).xyz
    np.testing.assert_allclose(there[:, mirror] * (-1, 1, 1), here, atol=2e-4)  # float32 through the network
    alone = lifter.lift(xy, mirrored=False).xyz
    assert not np.allclose(alone, here, atol=1e-2)


def test_missing_joints_are_filled_with_little_confidence() -> None:
    xy = views()
    xy[3, 5] = np.nan
    confidence = np.full(xy.shape[:2], 0.8)
    confidence[4, 7] = 0
    lifted = random_lifter().lift(xy, confidence)
    assert np.isfinite(lifted.xyz).all()
    assert lifted.confidence[3, 5] == pytest.approx(0.16)
    assert lifted.confidence[4, 7] == pytest.approx(0.16)
    assert lifted.confidence[0, 0] == pytest.approx(0.8)


def test_poses_of_which_too_little_is_seen_are_missing() -> None:
    xy = views(5)
    confidence = np.ones(xy.shape[:2])
    confidence[1] = 0
    xy[2] = np.nan
    confidence[3, 2:] = 0
    lifted = random_lifter().lift(xy, confidence)
    assert np.isfinite(lifted.xyz).all(axis=(1, 2)).tolist() == [True, False, False, False, True]
    assert (lifted.confidence[1:4] == 0).all()
    assert np.isnan(lifted.px_per_metre[1:4]).all()


def test_no_poses_and_all_joints_in_one_point() -> None:
    lifter = random_lifter()
    assert lifter.lift(np.empty((0, 15, 2))).xyz.shape == (0, 15, 3)
    assert np.isfinite(lifter.lift(np.full((1, 15, 2), 7.0)).xyz).all()


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(PosekitError, match=r"found keypoints of shape \(2, 14, 2\), expected \(poses, 15, 2\)"):
        random_lifter().lift(np.zeros((2, 14, 2)))
    with pytest.raises(PosekitError, match=r"found confidence of shape \(3, 15\)"):
        random_lifter().lift(np.zeros((2, 15, 2)), np.ones((3, 15)))


@pytest.mark.parametrize(
    ("settings", "skeleton"),
    [(RepNetSettings(width=32, blocks=1), LIFTER_15), (replace(PUBLISHED, width=32), REPNET_16), (TEMPORAL, LIFTER_15)],
)
def test_a_file_gives_the_same_lifter(tmp_path, settings, skeleton) -> None:
    path, lifter = tmp_path / "own.safetensors", random_lifter(settings, skeleton)
    save_lifter(path, lifter, {"seed": 3})
    again = load_lifter(path)
    assert (again.skeleton, again.settings, again.mean_bone) == (skeleton, settings, 0.27)
    assert read_lifter_training(path) == {"seed": 3}
    xy = np.random.default_rng(0).normal(size=(4, skeleton.joint_count, 2))
    assert np.array_equal(again.lift(xy).xyz, lifter.lift(xy).xyz)


def test_files_that_are_no_lifters_are_refused(tmp_path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "own.safetensors"
    with pytest.raises(PosekitError, match="found no such file"):
        load_lifter(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(PosekitError, match="found no readable safetensors file"):
        load_lifter(path)
    save_file({"weight": torch.zeros(2)}, path, metadata={"format": "other"})
    with pytest.raises(PosekitError, match="format: found 'other', expected 'posekit lifter 1'"):
        load_lifter(path)
    lifter = random_lifter()
    with torch.no_grad():
        next(lifter.generator.parameters())[0, 0] = torch.nan
    save_lifter(path, lifter)
    with pytest.raises(PosekitError, match="found values that are no numbers"):
        load_lifter(path)
    save_lifter(path, replace(random_lifter(), settings=RepNetSettings(width=48, blocks=1)))
    with pytest.raises(PosekitError, match=r"expected \(48, 45\)"):
        load_lifter(path)
    save_lifter(path, replace(random_lifter(), mean_bone=27.0))
    with pytest.raises(PosekitError, match="mean_bone is 27 m, expected"):
        load_lifter(path)


def test_the_shipped_lifter_knows_a_view_from_its_mirror_image() -> None:
    lifter = load_lifter()
    assert LIFTER_WEIGHTS.stat().st_size < 5e6
    assert lifter.skeleton == LIFTER_15
    lifted = lifter.lift(views(50))
    height = lifted.xyz[:, LIFTER_15.index("left_ankle"), 1] - lifted.xyz[:, LIFTER_15.index("nose"), 1]
    # Stick people are 1.51 m from ankle to nose; a lifter may lean and size them a little.
    assert (abs(height - 1.51) < 0.4).all()


def test_windows_repeat_the_ends() -> None:
    assert window_rows(4, 3).tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]
    assert window_rows(1, 5).tolist() == [[0] * 5]
    assert window_rows(3, 1).tolist() == [[0], [1], [2]]
    assert window_rows(0, 3).shape == (0, 3)


def test_a_temporal_lifter_lifts_a_video() -> None:
    lifter, xy = random_lifter(TEMPORAL), views(6)
    confidence = np.full(xy.shape[:2], 0.9)
    xy[3] = np.nan
    confidence[3] = 0
    lifted = lifter.lift(xy, confidence)
    assert np.isfinite(lifted.xyz).all(axis=(1, 2)).tolist() == [True, True, True, False, True, True]
    for frame in (0, 2, 5):
        rows = [min(max(frame + step, 0), 5) for step in (-2, -1, 0, 1, 2)]
        alone = lifter.lift_windows(xy[None, rows], confidence[None, rows])
        np.testing.assert_allclose(alone.xyz[0], lifted.xyz[frame], atol=1e-5)  # float32, another batch
        np.testing.assert_allclose(alone.px_per_metre[0], lifted.px_per_metre[frame], rtol=1e-5)  # as above
    # What was missing has no say; a neighbour that was seen has.
    hidden = xy.copy()
    hidden[3] = 70.0
    assert np.array_equal(lifter.lift(hidden, confidence).xyz, lifted.xyz, equal_nan=True)
    moved = xy.copy()
    moved[4] = views(9)[8]
    assert np.abs(lifter.lift(moved, confidence).xyz[2] - lifted.xyz[2]).max() > 1e-3
    # A walk through the picture is none of its business.
    walked = lifter.lift(xy + 40 * np.arange(6)[:, None, None], confidence)
    np.testing.assert_allclose(walked.xyz, lifted.xyz, atol=1e-4)  # float32


def test_windows_of_another_length_are_refused() -> None:
    with pytest.raises(PosekitError, match=r"found windows of shape \(2, 3, 15, 2\), .* expected 5 frames each"):
        random_lifter(TEMPORAL).lift_windows(np.zeros((2, 3, 15, 2)), np.ones((2, 3, 15)))


def test_files_from_before_a_setting_was_there_are_read(tmp_path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = tmp_path / "own.safetensors"
    save_lifter(path, random_lifter())
    with safe_open(path, framework="pt") as file:
        header, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    settings = json.loads(header["settings"])
    del settings["frames"], settings["learned_elevation"]
    save_file(tensors, path, metadata={**header, "settings": json.dumps(settings)})
    assert load_lifter(path).settings == random_lifter().settings
    save_file(tensors, path, metadata={**header, "settings": json.dumps({**settings, "frames": 4})})
    with pytest.raises(PosekitError, match=r"own.safetensors: header: .*frames: found 4, expected an odd number"):
        load_lifter(path)
