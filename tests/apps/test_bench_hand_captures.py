import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import labelled_hand_sets
from posekit.apps.main import main
from posekit.datasets.labelled_hands import labelled_hands
from posekit.datasets.recorded_hands import RecordedHands
from posekit.detection import detector_file
from posekit.detection.detector_file import ARCHITECTURES, save_detector
from posekit.detection.hand_detector import HandDetector
from posekit.io.video import write_video
from posekit.keypoints import Keypoints2D
from posekit.skeleton import BODY_25, with_hands


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A recording of one view in which the keypoints of two hands and their arms were given."""
    body = with_hands(BODY_25)
    frames = [np.random.default_rng(n).integers(0, 255, (240, 320, 3)).astype(np.uint8) for n in range(4)]
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "view.mp4", 30, frames)
    xy = np.full((4, 1, 1, body.joint_count, 2), np.nan)
    shape = np.random.default_rng(1).uniform(0, 60, (21, 2))
    for side, x in (("left", 120.0), ("right", 200.0)):
        # The left hand is the mirror image of the right one.
        xy[:, 0, 0, body.part(f"{side}_hand")] = shape * (-1 if side == "left" else 1, 1) + np.array([x, 120])
        for joint, y in (("wrist", 115.0), ("elbow", 60.0), ("shoulder", 10.0)):
            xy[:, 0, 0, body.index(f"{side}_{joint}")] = x + 30, y
    confidence = np.where(np.isfinite(xy[..., 0]), 0.9, 0.0)
    Keypoints2D(xy, confidence, ("view",), np.arange(4), body).save(tmp_path / "keypoints2d.h5")
    return tmp_path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A detector that has learnt nothing yet."""
    detector = HandDetector(ARCHITECTURES["light_hand_cpm"](), 64)
    save_detector(tmp_path / "untrained.safetensors", detector)
    return tmp_path / "untrained.safetensors"


def arguments(capture: Path, *more: str) -> list[str]:
    given = ["--capture", str(capture), "--keypoints", str(capture / "keypoints2d.h5"), "--every", "2"]
    return ["bench", "hand-captures", *given, *more]


def test_table_figures_and_sheets(
    capture: Path, weights: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    crops = ["hand", "hand-forearm", "arm-twice"]
    extra = ["--png", str(capture / "sheets"), "--json", str(capture / "figures.json"), "--crops", *crops]
    assert main(arguments(capture, "--weights", str(weights), *extra)) == 0
    figures = json.loads((capture / "figures.json").read_text())
    (rows,) = figures["captures"].values()
    assert list(rows) == crops
    for row in rows.values():
        assert (row["hands"], row["joints"]) == (4, 84)
        assert 0 <= row["pck01"] <= row["pck02"] <= 1
        assert len(row["calibration"]) == 10
        assert sum(one["joints"] for one in row["calibration"] if one) == 84
    # All are one hand, once upright and mirrored: so is the mean hand of these crops.
    assert rows["hand"]["mean_hand_pck02"] == 1.0
    printed = capsys.readouterr().out
    assert all(kind in printed for kind in crops)
    assert max(len(line) for line in printed.splitlines()) <= 80
    for kind in crops:
        sheet = cv2.imread(str(capture / "sheets" / f"{capture.name}-{kind}.png"))
        assert sheet is not None
        assert sheet.shape[1] > 1000


def test_a_detector_that_knows_is_found_right(capture: Path) -> None:
    from posekit.apps.bench_hand_captures import HandCapturesBench, crop_kinds, detect_recorded_hands
    from posekit.datasets.recorded_hands import find_recorded_hands, find_videos
    from posekit.detection.hand_box import HandBox
    from posekit.io.keypoint_files import open_keypoints

    source = open_keypoints(capture / "keypoints2d.h5")
    hands = find_recorded_hands(find_videos(capture, source.cameras), source, every=2)

    class Knowing:
        """Answers with the reference whose middle is the box's."""

        def detect_in_image(
            self, images: list[np.ndarray], boxes: HandBox, passes: int
        ) -> tuple[np.ndarray, np.ndarray]:
            middles = (hands.reference.min(axis=1) + hands.reference.max(axis=1)) / 2
            nearest = np.linalg.norm(boxes.centre[:, None] - middles, axis=-1).argmin(axis=1)
            assert len(images) == len(nearest)
            assert passes == 1
            return hands.reference[nearest], np.ones((len(nearest), 21))

    boxes = crop_kinds()["hand"].boxes(hands)
    chosen = boxes.found
    told: list[tuple[int, int]] = []
    xy, confidence = detect_recorded_hands(
        Knowing(), hands, boxes, chosen, 1, None, "all", lambda what, done, total: told.append((done, total))
    )
    np.testing.assert_array_equal(xy, hands.reference)
    assert (confidence == 1).all()
    assert told[-1] == (4, 4)
    assert HandCapturesBench().every == 4
    assert isinstance(hands, RecordedHands)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--crops", "foot"], "--crops: found 'foot', expected some of: hand"),
        (["--every", "0"], "--every: found 0"),
        (["--data", "mano:x"], "--data: found 'mano:x', expected KIND:FOLDER with a kind of: freihand"),
        (["--capture", "one", "two"], "--keypoints: found 1 for 2 of --capture"),
        (["--weights", "nothing.safetensors"], "nothing.safetensors: "),
        (["--png", "no/folder"], "no: no such folder"),
    ],
)
def test_mistakes_are_told_in_one_line(
    more: list[str], told: str, capture: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(arguments(capture, *more)) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1


def test_labelled_sets_are_measured(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = labelled_hand_sets.coco_wholebody(tmp_path / "coco")
    place = tmp_path / "figures.json"
    given = ["--data", f"coco_wholebody:{folder}", "--weights", str(weights), "--json", str(place)]
    assert main(["bench", "hand-captures", *given]) == 0
    row = json.loads(place.read_text())["captures"][f"coco_wholebody:{folder}"]["labels"]
    # Three hands, of each of which the tip of the thumb is hidden; in their crops they are one hand.
    assert (row["hands"], row["joints"], row["mean_hand_pck02"]) == (3, 60, 1.0)
    assert main(["bench", "hand-captures", *given, "--hands", "2"]) == 0
    assert json.loads(place.read_text())["captures"][f"coco_wholebody:{folder}"]["labels"]["hands"] == 2


def test_hidden_labels_are_of_the_scale_of_a_labelled_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = labelled_hand_sets.rhd(tmp_path / "rhd", "evaluation")
    labelled = labelled_hands("rhd", folder, 64, split="test")
    truth = labelled.crops(np.arange(len(labelled)))
    assert (~truth.visible & (truth.weight > 0)).sum() == 5  # the fingertips of one hand, on the edge of its box
    sides = np.ptp(truth.joints, axis=1).max(axis=1)

    class Beside:
        """Finds every joint 0.19 B from its label, B being the longer side of the box round all labels."""

        crop_size = 64

        def fused(self) -> "Beside":
            return self

        def detect(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return truth.joints + 0.19 * sides[:, None, None] * [1, 0], np.ones(truth.joints.shape[:2])

    monkeypatch.setattr(detector_file, "load_detector", lambda path: Beside())
    place = tmp_path / "figures.json"
    assert main(["bench", "hand-captures", "--data", f"rhd:{folder}", "--json", str(place)]) == 0
    row = json.loads(place.read_text())["captures"][f"rhd:{folder}"]["labels"]
    assert (row["hands"], row["joints"]) == (3, 3 * 21 - 5)
    assert row["pck02"] == 1.0
    assert row["epe"] == pytest.approx(0.19, abs=1e-5)  # labels are float32


def test_no_recording_is_told(capsys: pytest.CaptureFixture) -> None:
    assert main(["bench", "hand-captures"]) == 2
    assert "--temugeb, --desk, --balancing" in capsys.readouterr().err


def test_published_recordings_are_read(shared_data: Path, weights: Path, tmp_path: Path) -> None:
    folder = shared_data / "caliscope_charuco" / "desk_4cams"
    place = tmp_path / "figures.json"
    measured = ["--desk", str(folder), "--every", "28", "--crops", "hand", "--weights", str(weights)]
    assert main(["bench", "hand-captures", *measured, "--json", str(place)]) == 0
    row = json.loads(place.read_text())["captures"]["desk"]["hand"]
    files = [*(folder / "openpose_hands").glob("*/*_0000000000[025][086]_keypoints.json")]
    files = [path for path in files if int(path.name.split("_")[-2]) in (0, 28, 56)]
    people = [person for path in files for person in json.loads(path.read_text())["people"]]
    found = [any(person[f"hand_{side}_keypoints_2d"]) for person in people for side in ("left", "right")]
    assert row["hands"] == sum(found) > 10
