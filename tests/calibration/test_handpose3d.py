import pytest

from posekit.calibration.formats import Unsaid, find_format, read_rig
from posekit.errors import PosekitError, PosekitWarning

LENS = "intrinsic:\n900.0 0.0 356.0 \n0.0 910.0 355.0 \n0.0 0.0 1.0 \ndistortion:\n-0.01 0.02 1e-3 -2e-3 0.3 \n"
POSE = "R:\n1 0 0 \n0 0 -1 \n0 1 0 \nT:\n{x} \n1.0 \n16.5 \n"


def write(folder):
    for number in (0, 1):
        (folder / f"c{number}.dat").write_text(LENS)
        (folder / f"rot_trans_c{number}.dat").write_text(POSE.format(x=number))
    with (folder / "rot_trans_c1.dat").open("a") as file:
        file.write("\n#below is rotation and translation to go from cam0 to cam1.\n" + POSE.format(x=9))
    return folder


def test_the_first_pose_of_each_camera_counts(tmp_path):
    assert find_format(write(tmp_path)) == "handpose3d"
    rig = read_rig(tmp_path, unsaid=Unsaid("cm", (720, 720)))
    assert rig.names == ("cam0", "cam1")
    camera = rig["cam1"]
    assert camera.translation == pytest.approx((0.01, 0.01, 0.165), abs=1e-16)
    assert camera.matrix.tolist() == [[900, 0, 356], [0, 910, 355], [0, 0, 1]]
    assert camera.distortion.tolist() == [-0.01, 0.02, 1e-3, -2e-3, 0.3, 0, 0, 0]
    assert camera.rotation.tolist() == [[1, 0, 0], [0, 0, -1], [0, 1, 0]]


def test_what_is_not_said_is_told(tmp_path):
    with pytest.warns(PosekitWarning) as caught:
        read_rig(write(tmp_path))
    assert [str(warning.message).partition(": ")[2] for warning in caught] == [
        "camera c0, camera c1: does not say how large its picture is; 720 x 720 px is assumed",
        "does not say its units; read as metres",
    ]


def test_damaged_folders(tmp_path):
    write(tmp_path)
    (tmp_path / "c1.dat").write_text(LENS.replace("910", "high"))
    with pytest.raises(PosekitError, match=r"camera c1: intrinsic: .* are not numbers"):
        read_rig(tmp_path)
    (tmp_path / "c1.dat").write_text(LENS.replace("distortion", "lens"))
    with pytest.raises(PosekitError, match="camera c1: lacks distortion"):
        read_rig(tmp_path)
    (tmp_path / "rot_trans_c1.dat").unlink()
    with pytest.raises(PosekitError, match=r"rot_trans_c1\.dat: no such file; it is the pose of c1\.dat"):
        read_rig(tmp_path)
    (tmp_path / "c1.dat").unlink()
    (tmp_path / "c0.dat").unlink()
    with pytest.raises(PosekitError, match=r"has no c<n>\.dat"):
        read_rig(tmp_path, "handpose3d")
