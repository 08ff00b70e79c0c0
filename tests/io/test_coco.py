import json
from pathlib import Path

import numpy as np
import pytest

from posekit.apps.main import main
from posekit.calibration.formats import write_rig
from posekit.errors import PosekitError, PosekitWarning
from posekit.io.coco import read_coco
from posekit.skeleton import BODY_25, COCO_17, COCO_WHOLEBODY_133, HALPE_26, HAND_21
from scenes import ring_rig


def points(count: int, first: float, score: float = 0.5) -> list[float]:
    return [value for n in range(count) for value in (first + n, 2 * first + n, score)]


def result(image: int | str, first: float = 10, count: int = 17, **fields) -> dict:
    return {"image_id": image, "category_id": 1, "keypoints": points(count, first), "score": 0.9, **fields}


def write(path: Path, content) -> Path:
    path.write_text(json.dumps(content))
    return path


def annotations(frames: dict[int, str], labels: list[dict], **category) -> dict:
    return {
        "images": [{"id": number, "file_name": name, "width": 640, "height": 480} for number, name in frames.items()],
        "annotations": labels,
        "categories": [{"id": 1, "name": "person", **category}],
    }


def test_results_of_several_cameras(tmp_path):
    write(tmp_path / "cam_10_keypoints.json", [result(0, 100), result(0, 200), result(2, 300)])
    write(tmp_path / "cam_2_keypoints.json", [result(2, 600), result(1, 500), result(0, 400)])
    found = read_coco(tmp_path, fps=30)
    assert found.cameras == ("cam_2", "cam_10")
    assert found.frames.tolist() == [0, 1, 2]
    assert (found.skeleton, found.fps, found.source) == (COCO_17, 30, str(tmp_path))
    nan = np.nan
    first = np.array([[[400, nan], [100, 200]], [[500, nan], [nan, nan]], [[600, nan], [300, nan]]])
    assert np.array_equal(found.xy[..., 0, 0], first, equal_nan=True)
    assert np.array_equal(found.xy[..., 5, 1], 2 * first + 5, equal_nan=True)
    assert np.array_equal(found.confidence[..., 3], np.where(np.isnan(first), 0, 0.5).astype(np.float32))


@pytest.mark.parametrize(
    ("names", "cameras"),
    [
        (("cam1.json", "cam2.json"), ("cam1", "cam2")),
        (("cam1_hrnet_w48.json", "cam2_hrnet_w48.json"), ("cam1", "cam2")),
        (("a_results_keypoints.json", "b_results.json"), ("a", "b")),
        (("front_left.json", "front_right.json"), ("front_left", "front_right")),
        (("cam1_wholebody.json",), ("cam1",)),
    ],
)
def test_cameras_are_what_the_names_of_the_files_begin_with(tmp_path, names, cameras):
    for name in names:
        write(tmp_path / name, [result(0)])
    assert read_coco(tmp_path).cameras == cameras


def test_frames_by_the_names_of_the_pictures(tmp_path):
    write(tmp_path / "a.json", [result("walk2/a_000012.jpg"), result("walk2/a_000003.jpg", 50)])
    found = read_coco(tmp_path / "a.json")
    assert found.frames.tolist() == [3, 12]
    assert found.xy[:, 0, 0, 0, 0].tolist() == [50, 10]


def test_a_score_of_a_joint_at_zero_is_no_detection(tmp_path):
    body = points(17, 10)
    body[:6] = [0, 0, 0.7, None, 5, 0.5]
    write(tmp_path / "a.json", [result(0) | {"keypoints": body}])
    found = read_coco(tmp_path)
    assert np.flatnonzero(found.confidence[0, 0, 0] == 0).tolist() == [0, 1]


def test_annotations_have_flags_and_frames_of_their_pictures(tmp_path):
    body = points(17, 10, 2)
    body[2], body[5] = 1, 0
    labels = [{"id": 1, "image_id": 77, "category_id": 1, "keypoints": body}, {"image_id": 78, "keypoints": []}]
    write(tmp_path / "a.json", annotations({77: "img_0004.png", 78: "img_0005.png", 79: "img_0006.png"}, labels))
    found = read_coco(tmp_path)
    assert found.frames.tolist() == [4, 5, 6]  # a picture without anybody is a frame
    assert found.confidence[0, 0, 0, :3].tolist() == [0.5, 0, 1]
    assert np.isnan(found.xy[0, 0, 0, 1]).all()
    assert found.xy[0, 0, 0, 0].tolist() == [10, 20]
    assert found.skeleton == COCO_17
    labels[0]["keypoints"] = points(17, 10, 0.5)
    write(tmp_path / "a.json", annotations({77: "img_0004.png", 78: "img_0005.png"}, labels))
    with pytest.raises(PosekitError, match=r"a\.json: annotations: the flag of a keypoint is 0, 1 or 2, found 0\.5"):
        read_coco(tmp_path)


def test_joints_by_the_names_of_the_category(tmp_path):
    labels = [{"image_id": 1, "keypoints": points(3, 10, 2)}]
    write(tmp_path / "a.json", annotations({1: "1.png"}, labels, keypoints=["snout", "left_ear", "right_ear"]))
    found = read_coco(tmp_path)
    assert found.skeleton.joints == ("snout", "left_ear", "right_ear")
    assert found.skeleton.left_right == ((1, 2),)
    labels = [{"image_id": 1, "keypoints": points(17, 10, 2)}]
    write(tmp_path / "a.json", annotations({1: "1.png"}, labels, keypoints=list(COCO_17.joints)))
    assert read_coco(tmp_path).skeleton == COCO_17


def test_every_file_has_its_own_order_of_joints(tmp_path):
    first, second = ["snout", "left_ear", "right_ear"], ["right_ear", "snout", "left_ear"]
    xy = points(3, 10, 2)
    write(tmp_path / "a.json", annotations({1: "1.png"}, [{"image_id": 1, "keypoints": xy}], keypoints=first))
    write(tmp_path / "b.json", annotations({1: "1.png"}, [{"image_id": 1, "keypoints": xy}], keypoints=second))
    found = read_coco(tmp_path)
    assert found.skeleton.joints == tuple(first)
    np.testing.assert_array_equal(found.xy[0, 1, 0], found.xy[0, 0, 0][[1, 2, 0]])
    # The same where the skeleton is said: names go before places.
    np.testing.assert_array_equal(read_coco(tmp_path, found.skeleton).xy, found.xy)
    write(
        tmp_path / "b.json",
        annotations({1: "1.png"}, [{"image_id": 1, "keypoints": xy}], keypoints=["snout", "a", "b"]),
    )
    with pytest.raises(PosekitError, match=r"b\.json: categories: .*found a, b, missing left_ear, right_ear"):
        read_coco(tmp_path)


def test_names_of_the_file_go_before_the_order_that_is_said(tmp_path):
    labels = [{"image_id": 1, "keypoints": points(17, 10, 2)}]
    write(tmp_path / "a.json", annotations({1: "1.png"}, labels, keypoints=list(COCO_17.joints[::-1])))
    turned = read_coco(tmp_path, COCO_17).xy[0, 0, 0]
    # Other people's words for some of the joints, where they stand in the field's order, are no contradiction.
    words = [name if k % 3 else f"point {k}" for k, name in enumerate(COCO_17.joints)]
    write(tmp_path / "a.json", annotations({1: "1.png"}, labels, keypoints=words))
    as_they_stand = read_coco(tmp_path, COCO_17).xy[0, 0, 0]
    np.testing.assert_array_equal(turned, as_they_stand[::-1])
    write(tmp_path / "a.json", annotations({1: "1.png"}, labels, keypoints=words[::-1]))
    with pytest.raises(PosekitError, match="the joints of COCO_17 were expected, found point 15"):
        read_coco(tmp_path, COCO_17)


def test_wholebody_in_lists_of_its_own(tmp_path):
    parts = {"foot_kpts": (6, 300), "face_kpts": (68, 400), "lefthand_kpts": (21, 500), "righthand_kpts": (21, 600)}
    lists = {name: points(count, first) for name, (count, first) in parts.items()}
    write(tmp_path / "a.json", [result(0, 100, **lists), result(1, 100, lefthand_kpts=points(21, 500))])
    found = read_coco(tmp_path)
    assert found.skeleton == COCO_WHOLEBODY_133
    x = found.xy[0, 0, 0, :, 0]
    for part, first in (("left_hand", 500), ("right_hand", 600), ("face", 400)):
        place = COCO_WHOLEBODY_133.part(part)
        assert x[place].tolist() == [first + n for n in range(len(place))]
    assert x[COCO_WHOLEBODY_133.index("left_wrist")] == 100 + COCO_17.index("left_wrist")
    assert x[COCO_WHOLEBODY_133.index("right_heel")] == 305
    assert np.isnan(found.xy[1, 0, 0, COCO_WHOLEBODY_133.part("face")]).all()
    write(tmp_path / "a.json", [result(0, 100, lefthand_kpts=points(20, 500))])
    with pytest.raises(PosekitError, match=r"a\.json: \[0\]: lefthand_kpts: 63 numbers were expected, found 60"):
        read_coco(tmp_path)


@pytest.mark.parametrize(("count", "order"), [(17, COCO_17), (26, HALPE_26), (133, COCO_WHOLEBODY_133), (21, HAND_21)])
def test_the_number_of_joints_tells_the_skeleton(tmp_path, count, order):
    write(tmp_path / "a.json", [result(0, count=count)])
    assert read_coco(tmp_path).skeleton == order
    assert read_coco(tmp_path, order).skeleton == order
    with pytest.raises(
        PosekitError, match=rf"25 points of BODY_25 were expected, found {count} \(as many as {order.name}"
    ):
        read_coco(tmp_path, BODY_25)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", r"is damaged \(0 bytes"),
        ("[" * 10_000_000, r"is damaged \(10000000 bytes"),
        ('[{"image_id": 0, "keyp', "is damaged"),
        ('{"people": []}', "images and annotations, were expected; this is no COCO file"),
        ("3", "this is no COCO file"),
        ("[[1]]", r"\[0\]: a detection with an image_id was expected"),
        ('[{"keypoints": [1, 2, 3]}]', r"\[0\]: a detection with an image_id was expected"),
        ('[{"image_id": "photo.jpg", "keypoints": [1, 2, 3]}]', r"'photo\.jpg' is no number of a frame"),
        ('[{"image_id": null, "keypoints": [1, 2, 3]}]', "'None' is no number of a frame"),
        ('[{"image_id": -1, "keypoints": [1, 2, 3]}]', "'-1' is no number of a frame"),
        (
            '[{"image_id": 0, "keypoints": [1, 2]}]',
            r"\[0\]: keypoints: 3 numbers for every keypoint were expected, found 2",
        ),
        ('[{"image_id": 0, "keypoints": "x"}]', "expected, found str"),
        ('[{"image_id": 0, "keypoints": ["1", "2", "3"]}]', "something that is not a number"),
        (
            '[{"image_id": 0, "keypoints": [1,2,3]}, {"image_id": 0, "keypoints": [1,2,3,4,5,6]}]',
            r"\[1\]: 2 keypoints,",
        ),
        ('[{"image_id": 0, "keypoints": [1, 2, 3]}]', r"order of the joints is not told .*1 points: no known one"),
        ("[]", r"is not told .*nobody in it"),
        ('{"images": 1, "annotations": []}', "images: a list of pictures with an id was expected"),
        ('{"images": [{"id": 1, "file_name": "x"}], "annotations": []}', r"images\[0\]: image_id: 'x' is no number"),
        ('{"images": [{"id": 1}, {"id": 2, "file_name": "1.png"}], "annotations": []}', "a second picture of frame 1"),
        ('{"images": [], "annotations": [{"image_id": 5}]}', r"annotations\[0\]: image_id: 5 is not among the images"),
        ('{"images": [], "annotations": [{"image_id": []}]}', "is not among the images"),
        ('{"images": [{"id": [1], "file_name": "1.png"}], "annotations": []}', "id: a number or a text was expected"),
        (
            '{"images": [], "annotations": [], "categories": [{"keypoints": "x"}]}',
            "categories: keypoints: a list of names was expected",
        ),
    ],
)
def test_damaged_files_are_named_with_what_is_wrong(tmp_path, content, reason):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(PosekitError, match=reason) as error:
        read_coco(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_cameras_that_see_no_frame_together_are_told_of(tmp_path):
    # Wrong for what is to be triangulated, right for a person's labels of other frames in every camera.
    write(tmp_path / "a.json", [result(0), result(1)])
    write(tmp_path / "b.json", [result(1000), result(1001)])
    with pytest.warns(PosekitWarning, match="no frame is in the files of two cameras"):
        found = read_coco(tmp_path)
    assert found.frames.tolist() == [0, 1, 1000, 1001]
    seen = (found.confidence > 0).any(axis=(2, 3))
    assert seen.tolist() == [[True, False], [True, False], [False, True], [False, True]]


def test_what_no_two_cameras_see_is_not_triangulated(tmp_path, capsys):
    rig = ring_rig(2)
    write_rig(tmp_path / "rig.toml", rig)
    (tmp_path / "coco").mkdir()
    for n, camera in enumerate(rig.cameras):
        write(tmp_path / "coco" / f"{camera.name}.json", [result(1000 * n), result(1000 * n + 1)])
    options = ["--rig", str(tmp_path / "rig.toml"), "--out", str(tmp_path / "o.h5")]
    assert main(["triangulate", str(tmp_path / "coco"), *options]) == 2
    assert "nobody is seen by two cameras at once" in capsys.readouterr().err
    assert not (tmp_path / "o.h5").exists()


def test_folders_that_cannot_be_understood(tmp_path):
    with pytest.raises(PosekitError, match="holds no JSON file"):
        read_coco(tmp_path)
    write(tmp_path / "a.json", [result(0)])
    write(tmp_path / "a_results.json", [result(0)])
    with pytest.raises(PosekitError, match=r"a\.json .* both of camera 'a'|a_results\.json .* both of camera 'a'"):
        read_coco(tmp_path)
