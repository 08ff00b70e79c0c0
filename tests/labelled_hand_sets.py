"""Tiny data sets of labelled hands in their original layouts: the same hands in every one, joint by joint by its name."""

import json
import pickle
from pathlib import Path

import cv2
import numpy as np

FINGERS = ("thumb", "index", "middle", "ring", "little")
#: The orders as the sets' own documents list them, by the names of hand-21.
BASE_TO_TIP = ("wrist", *(f"{finger}_{n}" for finger in FINGERS for n in (1, 2, 3, 4)))
INTERHAND_ORDER = (*(f"{finger}_{n}" for finger in FINGERS for n in (4, 3, 2, 1)), "wrist")
RHD_ORDER = ("wrist", *(f"{finger}_{n}" for finger in FINGERS for n in (4, 3, 2, 1)))

SIZE = 160
#: Camera of the sets with 3D, px.
MATRIX = np.array([[200.0, 0.0, 80.0], [0.0, 200.0, 80.0], [0.0, 0.0, 1.0]])


def hand_xyz(left: bool) -> dict[str, np.ndarray]:
    """A right hand with its palm to the camera (metres, camera axes), fingers up; a left one is its mirror image."""
    across = {"thumb": 0.05, "index": 0.025, "middle": 0.005, "ring": -0.015, "little": -0.035}
    points = {"wrist": np.array([0.0, 0.08, 0.6])}
    for place, finger in enumerate(FINGERS):
        for n in (1, 2, 3, 4):
            points[f"{finger}_{n}"] = np.array([across[finger] * (1 + 0.1 * n), 0.02 - 0.03 * n, 0.6 + 0.002 * place])
    if left:
        points = {name: point * (-1, 1, 1) for name, point in points.items()}
    return points


def hand_px(left: bool) -> dict[str, np.ndarray]:
    return {name: (MATRIX @ point)[:2] / point[2] for name, point in hand_xyz(left).items()}


def ordered(points: dict[str, np.ndarray], order: tuple[str, ...]) -> np.ndarray:
    return np.array([points[name] for name in order])


def draw(path: Path, *lefts: bool) -> None:
    """A picture with a blue dot (0, 0, 255) at every thumb's tip and a red one (255, 0, 0) at every little finger's."""
    image = np.full((SIZE, SIZE, 3), 40, dtype=np.uint8)
    for left in lefts:
        for name, bgr in (("thumb_4", (255, 0, 0)), ("little_4", (0, 0, 255))):
            x, y = np.round(hand_px(left)[name]).astype(int)
            cv2.circle(image, (int(x), int(y)), 4, bgr, cv2.FILLED)
    path.parent.mkdir(parents=True, exist_ok=True)
    # At this quality the dots keep their colours in a JPEG.
    quality = [cv2.IMWRITE_JPEG_QUALITY, 100] if path.suffix == ".jpg" else []
    assert cv2.imwrite(str(path), image, quality)


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def freihand(folder: Path, versions: int = 2, split: str = "training") -> Path:
    write(folder / f"{split}_xyz.json", [ordered(hand_xyz(False), BASE_TO_TIP).tolist()] * 3)
    write(folder / f"{split}_K.json", [MATRIX.tolist()] * 3)
    for number in range(3 * versions):
        draw(folder / split / "rgb" / f"{number:08d}.jpg", False)
    return folder


def interhand(folder: Path, split: str = "train", world_coord: bool = True) -> Path:
    """One picture of both hands, one of a left hand; the camera is turned and away from the origin, in millimetres."""
    rotation = cv2.Rodrigues(np.array([0.2, -0.5, 1.0]))[0]
    position = np.array([100.0, -300.0, 50.0])
    in_camera = np.concatenate([ordered(hand_xyz(left), INTERHAND_ORDER) for left in (False, True)])
    world = (1000 * in_camera @ rotation + position).tolist()
    both, left_only = [1] * 42, [0] * 21 + [1] * 21
    left_only[21] = 0  # the left thumb's tip has no label
    place = folder / "annotations" / "human_annot"
    images = [
        {"id": 7 + n, "file_name": f"Capture0/cam400/image{n}.jpg", "capture": 0, "camera": "400", "frame_idx": 10 + n}
        for n in range(2)
    ]
    annotations = [
        {"id": 1, "image_id": 7, "joint_valid": both, "hand_type": "interacting"},
        {"id": 2, "image_id": 8, "joint_valid": [[value] for value in left_only], "hand_type": "left"},
    ]
    write(place / f"InterHand2.6M_{split}_data.json", {"images": images, "annotations": annotations})
    camera = {"campos": position.tolist(), "camrot": rotation.tolist(), "focal": [200, 200], "princpt": [80, 80]}
    write(
        place / f"InterHand2.6M_{split}_camera.json",
        {"0": {name: {"400": value} for name, value in camera.items()}},
    )
    frame = {"world_coord": world} if world_coord else world
    write(place / f"InterHand2.6M_{split}_joint_3d.json", {"0": {"10": frame, "11": frame}})
    draw(folder / "images" / split / images[0]["file_name"], False, True)
    draw(folder / "images" / split / images[1]["file_name"], True)
    return folder


def onehand10k(folder: Path, split: str = "Train") -> Path:
    points = np.round(ordered(hand_px(False), BASE_TO_TIP)).astype(int)
    points[8] = -1  # the index finger's tip cannot be seen
    line = ",".join(["12.jpg", str(SIZE), str(SIZE), "1", *map(str, points.ravel())])
    (folder / split).mkdir(parents=True)
    (folder / split / "label_joint.txt").write_text(f"{line}\n{line.replace('12.jpg', '9.jpg')}\n")
    for name in ("12.jpg", "9.jpg"):
        draw(folder / split / "source" / name, False)
    return folder


def rhd_samples() -> dict[int, dict[str, np.ndarray]]:
    """Sample 0 has both hands, sample 1 a right one, whose fingertips are hidden, and hardly anything of a left one."""
    samples = {}
    for number in range(2):
        uv, xyz = [], []
        for left in (True, False):
            uv.append(ordered(hand_px(left), RHD_ORDER))
            xyz.append(ordered(hand_xyz(left), RHD_ORDER))
        visible = np.ones((42, 1))
        if number == 1:
            visible[:15] = 0
            visible[[22, 26, 30, 34, 38]] = 0
        samples[number] = {
            "uv_vis": np.concatenate([np.concatenate(uv), visible], axis=1).astype(np.float32),
            "xyz": np.concatenate(xyz).astype(np.float32),
            "K": MATRIX.astype(np.float32),
        }
    return samples


def rhd(folder: Path, split: str = "training", protocol: int = 2) -> Path:
    (folder / split).mkdir(parents=True)
    (folder / split / f"anno_{split}.pickle").write_bytes(pickle.dumps(rhd_samples(), protocol))
    draw(folder / split / "color" / "00000.png", False, True)
    draw(folder / split / "color" / "00001.png", False)
    return folder


def hand_labels(folder: Path, split: str = "manual_train") -> Path:
    for name, left in (("a_01", True), ("a_02", False)):
        points = np.c_[ordered(hand_px(left), BASE_TO_TIP), np.ones(21)]
        points[20] = 0  # the little finger's tip has no label
        write(folder / split / f"{name}.json", {"hand_pts": points.tolist(), "is_left": int(left)})
        draw(folder / split / f"{name}.jpg", left)
    return folder


def hand143(folder: Path) -> Path:
    points = np.c_[ordered(hand_px(False), BASE_TO_TIP), np.ones(21)]
    entries = [{"img_paths": f"imgs/{n:08d}.jpg", "joint_self": points.tolist()} for n in range(2)]
    write(folder / "hands_v143_14817.json", {"root": entries})
    for entry in entries:
        draw(folder / entry["img_paths"], False)
    return folder


def coco_wholebody(folder: Path, split: str = "val") -> Path:
    """One person whose hands are both labelled, one whose right hand is not valid."""
    annotations = []
    for number in range(2):
        annotation: dict[str, object] = {"id": number, "image_id": 40 + number}
        for side, left in (("left", True), ("right", False)):
            points = np.c_[ordered(hand_px(left), BASE_TO_TIP), np.full(21, 2.0)]
            points[4, 2] = 1  # the thumb's tip is hidden
            valid = number == 0 or left
            annotation[f"{side}hand_valid"] = valid
            annotation[f"{side}hand_kpts"] = points.ravel().tolist() if valid else [0.0] * 63
        annotations.append(annotation)
    images = [{"id": 40 + n, "file_name": f"{40 + n:012d}.jpg"} for n in range(2)]
    write(folder / "annotations" / f"coco_wholebody_{split}_v1.0.json", {"images": images, "annotations": annotations})
    draw(folder / f"{split}2017" / images[0]["file_name"], False, True)
    draw(folder / f"{split}2017" / images[1]["file_name"], True)
    return folder
