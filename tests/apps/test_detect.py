import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from labelled_hand_sets import BASE_TO_TIP, hand_xyz, ordered
from posekit.apps.main import main
from posekit.calibration.formats import write_rig
from posekit.detection.adapters.found import HANDS_42, FoundPeople
from posekit.detection.detector_file import save_detector
from posekit.detection.hand_detector import HandDetector
from posekit.io.video import VideoReader, write_video
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.models.hand_networks import light_hand_cpm
from posekit.skeleton import BODY_25B, COCO_17, HAND_21
from scenes import PERSON, observe, ring_rig, walk

FRAMES = 3


def write_pictures(folder, cameras):
    """Coarse noise, as large as the cameras' pictures: what a network that knows nothing looks at, and quickly written."""
    rng = np.random.default_rng(0)
    for camera in cameras:
        coarse = [rng.integers(0, 255, (9, 16, 3), dtype=np.uint8) for _ in range(FRAMES)]
        write_video(folder / f"{camera.name}.mp4", 30, [cv2.resize(picture, camera.size) for picture in coarse])


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A network that knows nothing: what the command does with it is what it does with any."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "hand.safetensors"
    save_detector(path, HandDetector(light_hand_cpm()))
    return path


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    """Two cameras, noise for pictures, and a body that walks through them."""
    folder = tmp_path_factory.mktemp("capture")
    rig = ring_rig(2)
    path = walk(FRAMES, (-0.1, 0), (0.1, 0))[:, PERSON.part("body")]
    keypoints = observe(rig, [path], skeleton=BODY_25B, noise_px=0.2).keypoints
    keypoints.save(folder / "body.h5")
    write_rig(folder / "calibration.toml", rig)
    (folder / "videos").mkdir()
    write_pictures(folder / "videos", rig.cameras)
    return folder


def run(capture, weights, *more, out=None):
    out = out or capture / "out.h5"
    return main(["detect", str(capture), "--out", str(out), "--weights", str(weights), "--threads", "1", *more])


def test_bodies_get_their_hands(capture, weights, tmp_path, capsys):
    figures = tmp_path / "figures.json"
    options = ("--keypoints", str(capture / "body.h5"), "--min-confidence", "0", "--json", str(figures))
    assert run(capture, weights, *options, out=tmp_path / "hands.h5") == 0
    found, body = Keypoints2D.load(tmp_path / "hands.h5"), Keypoints2D.load(capture / "body.h5")
    assert found.skeleton.name == "BODY_25B+hands"
    assert found.cameras == body.cameras
    np.testing.assert_array_equal(found.frames, body.frames)
    np.testing.assert_array_equal(found.xy[..., : body.skeleton.joint_count, :], body.xy)
    for side in ("left", "right"):
        hand = found.xy[..., found.skeleton.part(f"{side}_hand"), :]
        wrist = body.xy[..., [body.skeleton.index(f"{side}_wrist")], :]
        elbow = body.xy[..., [body.skeleton.index(f"{side}_elbow")], :]
        assert np.isfinite(hand).all()
        # All joints lie in the box, whose corners are 0.3 + 0.92 of the arm away, if the second look stayed in it.
        upper = np.linalg.norm(body.xy[..., [body.skeleton.index(f"{side}_shoulder")], :] - elbow, axis=-1)
        arm = np.maximum(np.linalg.norm(wrist - elbow, axis=-1), 0.9 * upper)
        assert (np.linalg.norm(hand - wrist, axis=-1) < 2.5 * arm).all()
    measured = json.loads(figures.read_text())
    assert measured["pictures"] == 2 * FRAMES
    assert [row["looked_for"] for row in measured["cameras"].values()] == [2 * FRAMES] * 2
    assert (tmp_path / "hands.run.json").exists()
    assert f"{2 * FRAMES} pictures" in capsys.readouterr().out


def test_a_rig_gives_boxes_to_a_view_that_missed_the_arm(capture, weights, tmp_path):
    body = Keypoints2D.load(capture / "body.h5")
    rig = ring_rig(3)
    more = observe(rig, [walk(FRAMES, (-0.1, 0), (0.1, 0))[:, PERSON.part("body")]], skeleton=BODY_25B).keypoints
    xy = np.array(more.xy)
    xy[:, 2, :, BODY_25B.index("left_wrist")] = np.nan
    Keypoints2D(xy, more.confidence, more.cameras, more.frames, body.skeleton, 30.0).save(tmp_path / "body.h5")
    write_pictures(tmp_path, rig.cameras)
    write_rig(tmp_path / "rig.toml", rig)
    options = ("--keypoints", str(tmp_path / "body.h5"), "--min-confidence", "0")
    assert run(tmp_path, weights, *options, "--rig", str(tmp_path / "rig.toml")) == 0
    found = Keypoints2D.load(tmp_path / "out.h5")
    left = found.skeleton.part("left_hand")
    assert np.isfinite(found.xy[:, 2, 0][:, left]).all()
    assert run(tmp_path, weights, *options, out=tmp_path / "without.h5") == 0
    assert np.isnan(Keypoints2D.load(tmp_path / "without.h5").xy[:, 2, 0][:, left]).all()


def test_one_video_and_the_keypoints_of_one_view(capture, weights, tmp_path):
    body = Keypoints2D.load(capture / "body.h5")
    one = body.select_cameras((body.cameras[0],))
    Keypoints2D(one.xy, one.confidence, ("any",), one.frames, one.skeleton, 30.0).save(tmp_path / "one.h5")
    video = capture / "videos" / f"{body.cameras[1]}.mp4"
    options = ("--keypoints", str(tmp_path / "one.h5"), "--min-confidence", "0")
    assert run(video, weights, *options, out=tmp_path / "out.h5") == 0
    found = Keypoints2D.load(tmp_path / "out.h5")
    assert found.cameras == (body.cameras[1],)
    assert np.isfinite(found.xy[..., found.skeleton.part("right_hand"), :]).all()


def test_hands_anywhere_are_hands_alone(capture, weights, tmp_path, monkeypatch):
    from posekit.detection import hands_in_views
    from posekit.detection.tracking import FoundHand

    hand = np.random.default_rng(1).uniform(100, 200, (21, 2))
    calls = []

    def search(detector, picture, count, settings):
        calls.append(picture.shape)
        return [FoundHand(hand, np.full(21, 0.9), False)]

    monkeypatch.setattr(hands_in_views, "search_hands", search)
    video = capture / "videos" / f"{ring_rig(2).names[0]}.mp4"
    assert run(video, weights, "--hands-anywhere", "2", out=tmp_path / "lone.h5") == 0
    found = Keypoints2D.load(tmp_path / "lone.h5")
    assert found.skeleton == HAND_21
    assert found.xy.shape == (FRAMES, 1, 2, 21, 2)
    np.testing.assert_allclose(found.xy[0, 0, 0], hand, rtol=1e-6)
    assert len(calls) == 1  # the next search would be 15 frames later


def test_hands_anywhere_with_their_sides(capture, weights, tmp_path, monkeypatch):
    from posekit.detection import hands_in_views
    from posekit.detection.tracking import FoundHand

    right, left = np.random.default_rng(1).uniform(100, 200, (2, 21, 2)) + np.array([[[0]], [[300]]])
    sure = np.linspace(0.08, 0.95, 21)  # the first joint is less sure than --min-confidence

    def search(detector, picture, count, settings):
        return [FoundHand(right, sure, False), FoundHand(left, sure, True)]

    monkeypatch.setattr(hands_in_views, "search_hands", search)
    video = capture / "videos" / f"{ring_rig(2).names[0]}.mp4"
    assert run(video, weights, "--hands-anywhere", "3", "--sides", out=tmp_path / "lone.h5") == 0
    found = Keypoints2D.load(tmp_path / "lone.h5")
    assert found.skeleton.joints == HANDS_42.joints
    assert found.xy.shape == (FRAMES, 1, 3, 42, 2)
    lefts, rights = (found.skeleton.part(f"{side}_hand") for side in ("left", "right"))
    for slot, hand, here, other in ((0, right, rights, lefts), (1, left, lefts, rights)):
        np.testing.assert_allclose(found.xy[0, 0, slot, here[1:]], hand[1:], rtol=1e-6)
        np.testing.assert_allclose(found.confidence[0, 0, slot, here], [0, *sure[1:]], rtol=1e-6)
        assert np.isnan(found.xy[:, 0, slot, other]).all()
    assert not found.confidence[0, 0, 2].any()


def test_lone_hands_with_sides_are_triangulated_as_such(tmp_path):
    """A slot for each hand, others in every other view, and one view that takes the left hand for a right one for a while."""
    rig, frames = ring_rig(4), 12
    turned = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    hands = [
        ordered(hand_xyz(left), BASE_TO_TIP) @ turned.T + (-0.3 if left else 0.3, -0.6, 1.2) for left in (True, False)
    ]
    rng = np.random.default_rng(0)
    xy = np.full((frames, 4, 2, 42, 2), np.nan)
    for c, camera in enumerate(rig.cameras):
        for h, hand in enumerate(hands):
            seen = camera.project(hand) + rng.normal(0, 0.5, (frames, 21, 2))
            xy[:, c, (h + c) % 2, 21 * h : 21 * h + 21] = seen
    xy[:4, 0, 0, 21:], xy[:4, 0, 0, :21] = xy[:4, 0, 0, :21], np.nan
    confidence = np.isfinite(xy[..., 0]).astype(float)
    Keypoints2D(xy, confidence, rig.names, np.arange(frames), HANDS_42, 30.0, "lone").save(tmp_path / "lone.h5")
    write_rig(tmp_path / "rig.toml", rig)
    files = [str(tmp_path / name) for name in ("lone.h5", "rig.toml", "people.h5")]
    assert main(["triangulate", files[0], "--rig", files[1], "--out", files[2]]) == 0
    people = Keypoints3D.load(tmp_path / "people.h5")
    assert people.xyz.shape == (frames, 2, 42, 3)
    found = np.isfinite(people.xyz[..., 0])
    for h, hand in enumerate(hands):
        joints = slice(21 * h, 21 * h + 21)
        (person,) = np.flatnonzero(found[:, :, joints].any(axis=(0, 2)))
        assert found[:, person, joints].all()
        assert not found[:, person, 21 * (1 - h) : 21 * (1 - h) + 21].any()
        # 0.5 px at 4.8 m and 1000 px focal length are 2.4 mm a view and axis.
        assert np.median(np.linalg.norm(people.xyz[:, person, joints] - hand, axis=-1)) < 0.004


def test_mediapipe_looks_for_as_many_hands_as_are_expected(capture, tmp_path, monkeypatch):
    from posekit.detection.adapters import mediapipe_hands
    from posekit.detection.adapters.found import FoundHand

    class Peer:
        """Sees four hands, those of two people."""

        name = "MediaPipe 9"

        def __init__(self, *, model, python, hands):
            self.hands = hands

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def detect(self, picture, milliseconds):
            all_there = [FoundHand(np.full((21, 2), 10.0 * n), 1 - n / 10, n % 2 == 1) for n in range(1, 5)]
            return all_there[: self.hands]

    monkeypatch.setattr(mediapipe_hands, "MediapipeHands", Peer)
    arguments = ["detect", str(capture), "--detector", "mediapipe", "--out", str(tmp_path / "out.h5")]
    for more, first_joints in (([], [[10, 20]]), (["--hands-anywhere", "4"], [[10, 20], [30, 40]])):
        assert main([*arguments, *more]) == 0
        found = Keypoints2D.load(tmp_path / "out.h5")
        assert found.source == "MediaPipe 9"
        np.testing.assert_array_equal(
            found.xy[..., [0, 21], 0], np.broadcast_to(first_joints, (FRAMES, 2, *np.shape(first_joints)))
        )


def test_rtmpose_is_run_piece_by_piece(capture, tmp_path, monkeypatch):
    from posekit.detection.adapters import rtmpose
    from posekit.io import keypoint_copies

    class Network:
        """Finds a person where the picture's mean colour says, and in every other picture one more."""

        kind, skeleton = "body", COCO_17

        def __init__(self, kind, device):
            self.seen = 0

        def detect(self, picture):
            self.seen += 1
            xy = np.broadcast_to(picture.mean(axis=(0, 1))[:2], (1 + self.seen % 2, 17, 2))
            return FoundPeople(xy, np.full(xy.shape[:2], 0.5))

    pieces = []

    def detect_people(*arguments):
        found = detect_all(*arguments)
        pieces.append(len(found.frames))
        return found

    detect_all = rtmpose.detect_people
    monkeypatch.setattr(rtmpose, "Rtmpose", Network)
    monkeypatch.setattr(rtmpose, "detect_people", detect_people)
    monkeypatch.setattr(keypoint_copies, "_PIECE", 2)
    assert main(["detect", str(capture), "--detector", "rtmpose:body", "--out", str(tmp_path / "out.h5")]) == 0
    found = Keypoints2D.load(tmp_path / "out.h5")
    assert pieces == [2, 2, 1, 1]  # two cameras, three frames: no more in memory than a piece
    assert (found.source, found.skeleton, found.frames.tolist()) == ("RTMPose body", COCO_17, [0, 1, 2])
    assert found.cameras == ring_rig(2).names
    for c, camera in enumerate(found.cameras):
        for f, picture in enumerate(VideoReader(capture / "videos" / f"{camera}.mp4").frames()):
            expected = np.broadcast_to(picture.mean(axis=(0, 1))[:2], (17, 2))
            np.testing.assert_allclose(found.xy[f, c, 0], expected, rtol=1e-6)  # float32
    # Pictures 1, 3 and 5 of the six have somebody more.
    assert (found.confidence[:, :, 1, 0] > 0).tolist() == [[True, True], [False, False], [True, False]]


def test_a_shorter_video_ends_with_nobody(capture, monkeypatch):
    from posekit.apps.detect_inputs import Progress, open_capture
    from posekit.apps.detect_peers import detect_by_peer
    from posekit.detection.adapters import rtmpose

    class Network:
        kind, skeleton = "body", COCO_17

        def __init__(self, kind, device):
            pass

        def detect(self, picture):
            return FoundPeople(np.ones((1, 17, 2)), np.ones((1, 17)))

    monkeypatch.setattr(rtmpose, "Rtmpose", Network)
    opened = open_capture(capture)
    first, second = opened.videos
    told = []
    progress = Progress(lambda *what: told.append(what))
    shorter = replace(opened, frame_counts={first: FRAMES, second: 1})
    found = detect_by_peer(shorter, "rtmpose", "body", "cpu", None, progress)
    assert (found.confidence[:, :, 0, 0] > 0).tolist() == [[True, True], [True, False], [True, False]]
    assert told[-1] == (f"detecting in {second}", 1, 1)
    assert (f"detecting in {first}", FRAMES, FRAMES) in told


def test_keypoints_are_looked_for_in_the_capture_too(capture, weights, tmp_path):
    assert run(capture, weights, "--keypoints", "body.h5", out=tmp_path / "inside.h5") == 0
    assert run(capture, weights, "--keypoints", str(capture / "body.h5"), out=tmp_path / "named.h5") == 0
    inside, named = (Keypoints2D.load(tmp_path / f"{name}.h5") for name in ("inside", "named"))
    np.testing.assert_array_equal(inside.xy, named.xy)


def test_videos_without_keypoints_and_bodies_without_arms_are_told_of(capture, weights, tmp_path, capsys):
    body = Keypoints2D.load(capture / "body.h5")
    body.select_cameras(body.cameras[1:]).save(tmp_path / "one.h5")
    replace(body, xy=np.full_like(body.xy, np.nan), confidence=np.zeros_like(body.confidence)).save(tmp_path / "no.h5")
    for name, says in (("one", f"has no keypoints of {body.cameras[0]}"), ("no", "no hand was looked for")):
        assert run(capture, weights, "--keypoints", str(tmp_path / f"{name}.h5"), out=tmp_path / "out.h5") == 0
        warned = [line for line in capsys.readouterr().err.splitlines() if line.startswith("posekit: warning")]
        assert len(warned) == 1
        assert says in warned[0]


def test_mistakes_are_one_line_and_leave_nothing(capture, weights, tmp_path, capsys):
    body = Keypoints2D.load(capture / "body.h5")
    longer = np.concatenate([body.frames, body.frames + FRAMES])
    Keypoints2D(
        np.concatenate([body.xy] * 2), np.concatenate([body.confidence] * 2), body.cameras, longer, body.skeleton, 30.0
    ).save(tmp_path / "long.h5")
    Keypoints2D(body.xy, body.confidence, ("a", "b"), body.frames, body.skeleton, 30.0).save(tmp_path / "names.h5")
    hands = np.zeros((FRAMES, 2, 1, 21, 2))
    Keypoints2D(hands, np.ones(hands.shape[:-1]), body.cameras, body.frames, HAND_21).save(tmp_path / "hands.h5")
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    own = str(capture / "body.h5")
    mistakes = [
        (capture, [], "--keypoints BODY_2D or --hands-anywhere N"),
        (capture, ["--keypoints", own, "--hands-anywhere", "1"], "one of them"),
        (capture, ["--keypoints", str(tmp_path / "long.h5")], "has 3 frames, the keypoints have frame 3"),
        (capture, ["--keypoints", str(tmp_path / "names.h5")], "has camera 'a'"),
        (capture, ["--keypoints", str(tmp_path / "hands.h5")], "has no left_wrist"),
        (capture, ["--keypoints", str(tmp_path / "none.h5")], "no such file"),
        (capture, ["--keypoints", own, "--min-confidence", "2"], "--min-confidence: 2"),
        (capture, ["--hands-anywhere", "0"], "--hands-anywhere: 0"),
        (capture, ["--hands-anywhere", "1", "--rig", str(capture / "calibration.toml")], "--rig"),
        (capture, ["--hands-anywhere", "1", "--skeleton", "body-25b"], "--skeleton"),
        (capture, ["--keypoints", own, "--sides"], "--sides: is for --hands-anywhere"),
        (capture, ["--detector", "rtmpose", "--hands-anywhere", "2"], "--hands-anywhere: rtmpose finds"),
        (capture, ["--detector", "magic"], "'magic' is not known"),
        (capture, ["--detector", "hand-cpm:x"], "--weights"),
        (capture, ["--keypoints", own, "--device", "nowhere"], "nowhere"),
        (tmp_path / "broken.mp4", ["--hands-anywhere", "1"], "broken.mp4"),
        (tmp_path / "missing", ["--hands-anywhere", "1"], "missing"),
    ]
    for folder, options, says in mistakes:
        assert run(folder, weights, *options, out=tmp_path / "out.h5") == 2, options
        line = capsys.readouterr().err
        assert says in line, line
        assert line.count("posekit: error") == 1
        assert "Traceback" not in line
        assert not list(tmp_path.glob("*out*"))
