import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import labelled_hand_sets as sets
from posekit.datasets.hand_labels import HandLabels
from posekit.datasets.labelled_hands import KINDS, LabelledHandCrops, hand_direction, labelled_hands
from posekit.errors import PosekitError, PosekitWarning
from posekit.skeleton import HAND_21

#: Kind -> how it is made, its split, and the sides of the hands that have a label, in the order they are read.
SETS: dict[str, tuple[Callable[[Path], Path], str, list[bool]]] = {
    "freihand": (sets.freihand, "train", [False] * 6),
    "interhand": (sets.interhand, "train", [False, True, True]),
    "onehand10k": (sets.onehand10k, "train", [False, False]),
    "rhd": (sets.rhd, "train", [True, False, False]),
    "hand_labels": (sets.hand_labels, "train", [True, False]),
    "hand143": (sets.hand143, "train", [False, False]),
    "coco_wholebody": (sets.coco_wholebody, "test", [True, False, True]),
}


def opened(kind: str, folder: Path, crop_size: int = 64, box_factor: float = 2.2) -> LabelledHandCrops:
    make, split, _ = SETS[kind]
    make(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PosekitWarning)  # OneHand10K does not say which hands are left ones
        return labelled_hands(kind, folder, crop_size, split=split, box_factor=box_factor)


def test_every_kind_is_tried() -> None:
    assert set(SETS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_label_is_at_its_own_joint(kind: str, tmp_path: Path) -> None:
    labels = opened(kind, tmp_path / "set").labels
    assert labels.left.tolist() == SETS[kind][2]
    # OneHand10K has whole pixels, RHD and what is kept of InterHand2.6M are float32; the others are float64.
    tolerance = {"onehand10k": 0.51, "rhd": 1e-4, "interhand": 1e-4}.get(kind, 1e-6)
    for hand, left in enumerate(labels.left):
        pixels, xyz = sets.hand_px(bool(left)), sets.hand_xyz(bool(left))
        labelled = np.isfinite(labels.joints[hand]).all(axis=-1)
        assert labelled.sum() >= 20
        for place in np.flatnonzero(labelled):
            name = HAND_21.joints[place]
            np.testing.assert_allclose(labels.joints[hand, place], pixels[name], atol=tolerance, rtol=0, err_msg=name)
            if labels.xyz is not None:
                np.testing.assert_allclose(labels.xyz[hand, place], xyz[name], atol=1e-6, rtol=0, err_msg=name)


@pytest.mark.parametrize("kind", ["freihand", "interhand", "rhd"])
def test_camera_and_3d_belong_to_the_pixels(kind: str, tmp_path: Path) -> None:
    labels = opened(kind, tmp_path / "set").labels
    assert labels.xyz is not None
    assert labels.camera_matrix is not None
    for joints, xyz, matrix in zip(labels.joints, labels.xyz, labels.camera_matrix, strict=True):
        known = np.isfinite(joints).all(axis=-1)
        projected = cv2.projectPoints(xyz[known].astype(np.float64), np.zeros(3), np.zeros(3), matrix, None)[0][:, 0]
        np.testing.assert_allclose(joints[known], projected, atol=1e-4)  # RHD's labels are float32


@pytest.mark.parametrize(("kind", "hand", "hidden"), [("rhd", 2, (4, 8, 12, 16, 20)), ("coco_wholebody", 0, (4,))])
def test_hidden_joints_have_a_label_and_are_not_visible(kind: str, hand: int, hidden: tuple, tmp_path: Path) -> None:
    labels = opened(kind, tmp_path / "set").labels
    assert np.isfinite(labels.joints[hand]).all()
    assert np.flatnonzero(~labels.visible[hand]).tolist() == list(hidden)


@pytest.mark.parametrize(("kind", "hand", "joint"), [("interhand", 2, 4), ("onehand10k", 0, 8), ("hand_labels", 0, 20)])
def test_joints_without_a_label_are_nan(kind: str, hand: int, joint: int, tmp_path: Path) -> None:
    labels = opened(kind, tmp_path / "set").labels
    assert np.flatnonzero(np.isnan(labels.joints[hand]).any(axis=-1)).tolist() == [joint]
    assert not labels.visible[hand, joint]


@pytest.mark.parametrize("kind", KINDS)
def test_crops_are_upright_right_hands(kind: str, tmp_path: Path) -> None:
    crops = opened(kind, tmp_path / "set", crop_size=96)
    found = crops.crops(np.arange(len(crops)))
    for image, joints in zip(found.images, found.joints, strict=True):
        # The palm is before the camera, fingers up: the thumb is on the right of a right hand, also of a mirrored left.
        assert joints[5, 0] > joints[17, 0]
        assert joints[9, 1] < joints[0, 1]
        np.testing.assert_allclose(joints[9, 0], joints[0, 0], atol=1e-3)
        for joint, strongest in ((4, 2), (20, 0)):
            if np.isfinite(joints[joint]).all():
                x, y = np.round(joints[joint]).astype(int)
                colour = image[y, x].astype(int)
                assert colour.argmax() == strongest, f"joint {joint}: {colour}"
                assert colour[strongest] > 150


def test_crops_hold_the_hand_at_its_scale(tmp_path: Path) -> None:
    crops = opened("freihand", tmp_path / "set", crop_size=192, box_factor=3.3)
    joints = crops.crops(np.array([0])).joints[0]
    tight = (crops.labels.joints[0].max(axis=0) - crops.labels.joints[0].min(axis=0)).max()
    length = np.linalg.norm(joints[12] - joints[0])
    expected = np.linalg.norm(crops.labels.joints[0, 12] - crops.labels.joints[0, 0]) * 192 / (3.3 * tight)
    np.testing.assert_allclose(length, expected, rtol=1e-5)  # float32


@pytest.mark.parametrize("world_coord", [True, False])
@pytest.mark.parametrize("place", ["all", "train", "."])
def test_interhand_of_every_version(world_coord: bool, place: str, tmp_path: Path) -> None:
    sets.interhand(tmp_path / "set", world_coord=world_coord)
    annotations = tmp_path / "set" / "annotations"
    for path in [*(annotations / "human_annot").iterdir()]:
        (annotations / place).mkdir(exist_ok=True)
        path.rename(annotations / place / path.name)
    labels = labelled_hands("interhand", tmp_path / "set", 64).labels
    np.testing.assert_allclose(labels.joints[0, 0], sets.hand_px(False)["wrist"], atol=1e-4)  # float32


def test_a_draw_repeats_and_masks_what_has_no_label(tmp_path: Path) -> None:
    crops = opened("interhand", tmp_path / "set")
    first, again = (crops.draw(12, np.random.default_rng(3)) for _ in range(2))
    assert first.images.shape == (12, 3, 64, 64)
    assert first.images.equal(again.images)
    assert first.weight.equal(again.weight)
    unlabelled = first.joints.isnan().any(dim=-1)
    assert unlabelled.any()
    assert (first.weight[unlabelled] == 0).all()
    assert (first.weight[~unlabelled] == 1).all()
    assert not first.visible[unlabelled].any()


def test_pictures_are_read_when_they_are_cut(tmp_path: Path) -> None:
    crops = opened("freihand", tmp_path / "set")
    late = tmp_path / "set" / "training" / "rgb" / "00000004.jpg"
    late.unlink()
    crops.crops(np.array([0, 3, 5]))
    with pytest.raises(PosekitError, match=re.escape(f"{late}: no such file")):
        crops.crops(np.array([4]))
    late.write_bytes(b"no picture")
    with pytest.raises(PosekitError, match="damaged or no picture"):
        crops.crops(np.array([4]))


def test_direction_without_wrist_or_middle_knuckle() -> None:
    joints = np.array([sets.hand_px(False)[name] for name in HAND_21.joints])
    # Straight up, but that the mean of the knuckles lies a little aside of the wrist.
    assert hand_direction(joints) == pytest.approx(0.06, abs=0.1)
    for missing in ([9], [0], [0, 9]):
        some = joints.copy()
        some[missing] = np.nan
        assert hand_direction(some) == pytest.approx(0.06, abs=0.2), missing
    assert np.isnan(hand_direction(np.full((21, 2), np.nan)))


def test_hands_of_few_joints_are_left_out(tmp_path: Path) -> None:
    folder = sets.hand_labels(tmp_path / "set")
    path = folder / "manual_train" / "a_01.json"
    content = json.loads(path.read_text())
    for point in content["hand_pts"][10:]:
        point[2] = 0
    path.write_text(json.dumps(content))
    assert labelled_hands("hand_labels", folder, 64).labels.left.tolist() == [False]


def test_onehand10k_warns_that_sides_are_not_said(tmp_path: Path) -> None:
    sets.onehand10k(tmp_path / "set")
    with pytest.warns(PosekitWarning, match="does not say which hands are left"):
        labelled_hands("onehand10k", tmp_path / "set", 64)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_folder_is_told_in_one_line(kind: str, tmp_path: Path) -> None:
    with pytest.raises(PosekitError) as told:
        labelled_hands(kind, tmp_path, 64)
    assert str(tmp_path) in str(told.value)
    assert "\n" not in str(told.value)


BROKEN = {
    "freihand": "training_xyz.json",
    "interhand": "annotations/human_annot/InterHand2.6M_train_joint_3d.json",
    "hand_labels": "manual_train/a_01.json",
    "hand143": "hands_v143_14817.json",
    "coco_wholebody": "annotations/coco_wholebody_val_v1.0.json",
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("content", ['{"half', "", "[1, 2]", "null", '{"root": [], "images": [], "annotations": []}'])
def test_broken_json_is_told_in_one_line(kind: str, content: str, tmp_path: Path) -> None:
    make, split, _ = SETS[kind]
    make(tmp_path / "set")
    (tmp_path / "set" / BROKEN[kind]).write_text(content)
    with pytest.raises(PosekitError) as told:
        labelled_hands(kind, tmp_path / "set", 64, split=split)
    assert "\n" not in str(told.value)


def test_wrong_counts_are_told(tmp_path: Path) -> None:
    folder = sets.freihand(tmp_path / "freihand")
    path = folder / "training_K.json"
    path.write_text(json.dumps(json.loads(path.read_text())[:2]))
    with pytest.raises(PosekitError, match="found 2 entries, expected 3"):
        labelled_hands("freihand", folder, 64)
    folder = sets.freihand(tmp_path / "pictures")
    (folder / "training" / "rgb" / "00000005.jpg").unlink()
    with pytest.raises(PosekitError, match="found 5 pictures for 3 hands"):
        labelled_hands("freihand", folder, 64)
    folder = sets.onehand10k(tmp_path / "onehand10k")
    path = folder / "Train" / "label_joint.txt"
    path.write_text(path.read_text() + "8.jpg,1,2,1,5,5\n")
    with pytest.raises(PosekitError, match=r"line 3: found 6 fields, expected 46"):
        labelled_hands("onehand10k", folder, 64)
    folder = sets.hand143(tmp_path / "hand143")
    path = folder / "hands_v143_14817.json"
    content = json.loads(path.read_text())
    content["root"][1]["joint_self"].pop()
    path.write_text(json.dumps(content))
    with pytest.raises(PosekitError, match=r"hand 1: joint_self: found shape \(20, 3\), expected \(21, 3\)"):
        labelled_hands("hand143", folder, 64)


def test_unknown_kinds_and_splits_are_told(tmp_path: Path) -> None:
    with pytest.raises(PosekitError, match="kind 'mano' is not known, expected one of: freihand"):
        labelled_hands("mano", tmp_path, 64)
    with pytest.raises(PosekitError, match="split 'all' is not known"):
        labelled_hands("rhd", tmp_path, 64, split="all")
    with pytest.raises(PosekitError, match="no test split"):
        labelled_hands("hand143", sets.hand143(tmp_path / "set"), 64, split="test")


def test_labels_of_other_shapes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PosekitError, match=r"mine: joints: found \(2, 20, 2\), expected \(2, 21, 2\)"):
        HandLabels(
            tmp_path, ["a"], np.zeros(2, int), np.zeros((2, 20, 2)), np.ones((2, 21), bool), np.zeros(2, bool), "mine"
        )
