import os
import signal
import subprocess
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from posekit.errors import PosekitError
from posekit.io.keypoint_streams import Keypoints2DFile, writing_keypoints3d
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.people import reconstruction
from posekit.people.reconstruction import PeopleInCapture, reconstruct_people
from scenes import PERSON, Scene, observe, ring_rig, shuffle_people, walk


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Two people who pass each other, in any order and with empty slots; nobody is there in frames 20 to 39."""
    people = [walk(60, (-0.8, 0.5), (0.8, 0.4)), walk(60, (0.8, -0.5), (-0.8, -0.4))]
    seen = observe(ring_rig(4), people, noise_px=1.0, outlier_share=0.02, seed=1)
    keypoints, _ = shuffle_people(seen.keypoints)
    confidence = keypoints.confidence.copy()
    confidence[20:40] = 0
    return replace(seen, keypoints=replace(keypoints, confidence=confidence, frames=np.arange(60) + 1000))


@dataclass(frozen=True)
class OnlyAsManySlotsAsNeeded:
    """A source whose pieces have as many slots as there are people in them: none, where there is nobody."""

    whole: Keypoints2D
    cameras = property(lambda self: self.whole.cameras)
    frames = property(lambda self: self.whole.frames)
    skeleton = property(lambda self: self.whole.skeleton)
    fps = property(lambda self: self.whole.fps)
    source = property(lambda self: self.whole.source)

    def read(self, start: int, stop: int) -> Keypoints2D:
        piece = self.whole.read(start, stop)
        used = (piece.confidence > 0).any(axis=(0, 1, 3))
        return replace(piece, xy=piece.xy[:, :, used], confidence=piece.confidence[:, :, used])


def assert_same(a: Keypoints2D | Keypoints3D, b: Keypoints2D | Keypoints3D) -> None:
    for field in fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, np.ndarray):
            assert x.dtype == y.dtype, field.name
            assert np.array_equal(x, y, equal_nan=x.dtype.kind == "f"), field.name
        elif field.name != "source":
            assert x == y, field.name


def write_pieces(path: Path, whole: Keypoints3D, keypoints, cuts) -> None:
    with writing_keypoints3d(path, keypoints, whole.xyz.shape[1], whole.source) as file:
        for start, stop in zip((0, *cuts), (*cuts, len(whole.frames)), strict=True):
            rows = {
                name: getattr(whole, name)[start:stop]
                for name in ("xyz", "covariance", "inliers", "reprojection_px", "status", "frames")
            }
            file.write(replace(whole, **rows))


def test_pieces_of_a_file_are_the_keypoints(scene, tmp_path):
    path = tmp_path / "k.h5"
    scene.keypoints.save(path)
    opened = Keypoints2DFile.open(path)
    assert np.array_equal(opened.frames, scene.keypoints.frames)
    assert (opened.cameras, opened.fps, opened.source) == (scene.rig.names, 30.0, "the scene")
    assert opened.skeleton == PERSON
    for start, stop in ((0, 60), (0, 0), (7, 8), (15, 33), (50, 99), (60, 60)):
        assert_same(opened.read(start, stop), scene.keypoints.read(start, stop))


@pytest.mark.parametrize("cuts", [(), (30,), (1, 17, 33, 59)])
def test_people_who_are_written_in_pieces_are_those_saved_whole(scene, tmp_path, cuts):
    whole = reconstruct_people(scene.keypoints, scene.rig).people
    write_pieces(tmp_path / "pieces.h5", whole, scene.keypoints, cuts)
    whole.save(tmp_path / "whole.h5")
    pieces = Keypoints3D.load(tmp_path / "pieces.h5")
    assert pieces.source == whole.source
    assert_same(pieces, Keypoints3D.load(tmp_path / "whole.h5"))
    with h5py.File(tmp_path / "pieces.h5") as a, h5py.File(tmp_path / "whole.h5") as b:
        assert {name: (v.shape, v.dtype, v.chunks) for name, v in a.items()} == {
            name: (v.shape, v.dtype, v.chunks) for name, v in b.items()
        }


@pytest.mark.parametrize(("size", "as_needed"), [(20, True), (20, False), (7, True)])
def test_a_capture_in_pieces_has_the_people_of_one_in_memory(scene, monkeypatch, size, as_needed):
    whole = reconstruct_people(scene.keypoints, scene.rig)
    monkeypatch.setattr(reconstruction, "PIECE_FRAMES", size)
    source = OnlyAsManySlotsAsNeeded(scene.keypoints) if as_needed else scene.keypoints
    capture = PeopleInCapture(source, scene.rig)
    assert len(capture.pieces()) == -(-60 // size)
    pieces = reconstruct_people(source, scene.rig)
    assert pieces.people.xyz.shape == (60, 2, PERSON.joint_count, 3)
    assert np.array_equal(pieces.people.status, whole.people.status)
    assert np.array_equal(pieces.people.inliers, whole.people.inliers)
    assert_same(pieces.detections, whole.detections)
    # How large people appear is told by the people of a piece: their thresholds, and with these their points, may differ.
    assert np.nanmax(np.abs(pieces.people.xyz - whole.people.xyz)) < 1e-4
    # And they are who they are across the piece in which nobody is.
    there, body = np.r_[0:20, 40:60], PERSON.part("body")
    off = np.linalg.norm(pieces.people.xyz[there, :, None] - scene.xyz[there, None], axis=-1)
    off = np.nanmedian(off[..., body], axis=-1)
    order = off[0].argmin(axis=-1)
    assert sorted(order) == [0, 1]
    assert (off[:, [0, 1], order] < 0.05).all()


def test_a_write_that_ends_too_soon_leaves_the_old_file(scene, tmp_path):
    whole = reconstruct_people(scene.keypoints, scene.rig).people
    path = tmp_path / "k.h5"
    path.write_bytes(b"as it was")

    def write_and_fail() -> None:
        with writing_keypoints3d(path, scene.keypoints, 2, "x") as file:
            file.write(whole)
            raise RuntimeError("out of people")

    with pytest.raises(RuntimeError, match="out of people"):
        write_and_fail()
    assert path.read_bytes() == b"as it was"
    assert [entry.name for entry in tmp_path.iterdir()] == ["k.h5"]


def test_a_process_killed_while_it_writes_leaves_no_file_of_that_name(tmp_path):
    """SIGKILL cannot be handled: what may stay is a file that starts with a dot and that nothing takes for a result."""
    script = """
import sys, time
import numpy as np
from posekit.io.keypoint_streams import writing_keypoints3d
from posekit.keypoints import Keypoints2D
from posekit.skeleton import HAND_21
none = Keypoints2D(np.zeros((9, 2, 1, 21, 2)), np.zeros((9, 2, 1, 21)), ("a", "b"), np.arange(9), HAND_21)
with writing_keypoints3d(sys.argv[1], none, 1, "x"):
    print("open", flush=True)
    time.sleep(60)
"""
    path = tmp_path / "k.h5"
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not path.exists()
    assert all(entry.name.startswith(".") for entry in tmp_path.iterdir())


def shorten(file: h5py.File) -> None:
    del file["frames"]
    file["frames"] = np.arange(59)


def flatten(file: h5py.File) -> None:
    del file["confidence"]
    file["confidence"] = np.zeros((60, 4, 3))


def fewer_joints(file: h5py.File) -> None:
    del file["xy"]
    file["xy"] = np.zeros((60, 4, 3, 5, 2), dtype=np.float32)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (shorten, "59 frame numbers for arrays of [60] frames"),
        (flatten, "no dataset 'confidence' of numbers in 4 dimensions"),
        (fewer_joints, "(0, 4, 3, 5, 2)"),
        (
            lambda file: file.attrs.__setitem__("schema", "posekit.keypoints3d/1"),
            "'posekit.keypoints2d/1' was expected",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_when_it_is_opened(scene, tmp_path, damage, reason):
    path = tmp_path / "k.h5"
    scene.keypoints.save(path)
    with h5py.File(path, "a") as file:
        damage(file)
    with pytest.raises(PosekitError) as caught:
        Keypoints2DFile.open(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_said(tmp_path):
    with pytest.raises(PosekitError, match="no such file"):
        Keypoints2DFile.open(tmp_path / "none.h5")
    (tmp_path / "empty.h5").touch()
    with pytest.raises(PosekitError, match=r"empty\.h5: is no keypoint file"):
        Keypoints2DFile.open(tmp_path / "empty.h5")


def test_a_part_that_is_damaged_is_told_when_it_is_read(scene, tmp_path):
    path = tmp_path / "k.h5"
    scene.keypoints.save(path)
    with h5py.File(path) as file:
        place = file["xy"].id.get_chunk_info(2)
    content = bytearray(path.read_bytes())
    content[place.byte_offset + place.size // 2] ^= 0xFF
    path.write_bytes(content)
    opened = Keypoints2DFile.open(path)
    opened.read(0, 16)
    first = int(place.chunk_offset[0])
    with pytest.raises(PosekitError, match=r"k\.h5: is no keypoint file that can be read"):
        opened.read(first, first + 16)
