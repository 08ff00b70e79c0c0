import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from moving_person import moving_person
from posekit.datasets.asf_amc import axis_turn, read_amc, read_asf, read_asf_amc
from posekit.datasets.bvh_mocap import BvhJoints, read_bvh, read_bvh_folder
from posekit.datasets.mocap import hold_out
from posekit.datasets.mocap_files import load_mocap
from posekit.datasets.positions_npz import action_of
from posekit.errors import PosekitError, PosekitWarning
from posekit.io.bvh import write_bvh
from posekit.keypoints import Keypoints3D
from posekit.point_status import PointStatus
from posekit.skeleton import H36M_17
from scenes import PERSON

# A leg and an arm; comments, limits on several lines and an axis that is not zero, as CMU's files have them.
ASF = """# made for a test
:version 1.10
:name one
:units
  mass 1.0
  length 0.45
  angle deg
:documentation
   hand made
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
  begin
     id 1
     name lhipjoint
     direction 0.6 -0.8 0
     length 2.0
     axis 0 0 0  XYZ
  end
  begin
     id 2
     name lfemur
     direction 0 -1 0
     length 7.0
     axis 0 0 20  XYZ
    dof rx ry rz
    limits (-160.0 20.0)
           (-70.0 70.0)
           (-60.0 70.0)
  end
  begin
     id 3
     name ltibia
     direction 0 -1 0
     length 7.5
     axis 0 0 20  XYZ
    dof rx
    limits (-10.0 170.0)
  end
:hierarchy
  begin
    root lhipjoint
    lhipjoint lfemur
    lfemur ltibia
  end
"""
AMC = """#!OML:ASF made for a test
:FULLY-SPECIFIED
:DEGREES
1
root 1 17 2 0 0 0
lfemur 0 0 0
ltibia 0
2
root 1 17 2 10 -20 30
lfemur -40 15 25
ltibia 60
3
root 1 17 2 0 90 0
lfemur 0 0 0
ltibia 0
"""
UNIT = 0.0254 / 0.45


def amc_folder(folder: Path, asf: str = ASF, amc: str = AMC) -> Path:
    (folder / "02.asf").write_text(asf)
    (folder / "02_01.amc").write_text(amc)
    return folder


def z_up(xyz: np.ndarray) -> np.ndarray:
    """(x, y, z) with Y up is (z, x, y) with Z up."""
    return np.asarray(xyz)[..., [2, 0, 1]]


def test_the_rest_pose_of_an_asf_is_its_directions_times_its_lengths(tmp_path: Path) -> None:
    (clip,) = load_mocap(f"amc:{amc_folder(tmp_path)}")
    assert (clip.name, clip.subject, clip.fps) == ("02_01", "02", 120)
    assert clip.joints == ("pelvis", "left_hip", "left_knee", "left_ankle")
    expected = UNIT * np.array([[1, 17, 2], [2.2, 15.4, 2], [2.2, 8.4, 2], [2.2, 0.9, 2]])
    np.testing.assert_allclose(clip.xyz[0], z_up(expected), atol=1e-6)
    # A quarter turn of the root about Y: x goes to -z.
    turned = UNIT * np.array([[1, 17, 2], [1, 15.4, 0.8], [1, 8.4, 0.8], [1, 0.9, 0.8]])
    np.testing.assert_allclose(clip.xyz[2], z_up(turned), atol=1e-6)


def test_bones_turn_by_c_m_c_inverse_after_their_parents(tmp_path: Path) -> None:
    (clip,) = read_asf_amc(amc_folder(tmp_path))

    # scipy's lower-case "xyz" turns about fixed axes, x first: Rz Ry Rx.
    def turn(*degrees: float) -> np.ndarray:
        return Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()

    C = turn(0, 0, 20)
    root = turn(10, -20, 30)
    femur = root @ C @ turn(-40, 15, 25) @ C.T
    tibia = femur @ C @ turn(60, 0, 0) @ C.T
    pelvis = np.array([1.0, 17, 2])
    hip = pelvis + root @ (1.2, -1.6, 0)
    knee = hip + femur @ (0, -7, 0)
    ankle = knee + tibia @ (0, -7.5, 0)
    np.testing.assert_allclose(clip.xyz[1], z_up(UNIT * np.array([pelvis, hip, knee, ankle])), atol=1e-6)


def test_bones_of_an_asf_are_rigid(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def line(bone: str, count: int) -> str:
        return " ".join([bone, *(f"{value:.6f}" for value in rng.normal(scale=90, size=count))])

    frames = ["\n".join((str(n), line("root", 6), line("lfemur", 3), line("ltibia", 1))) for n in range(1, 30)]
    (clip,) = read_asf_amc(amc_folder(tmp_path, amc=":DEGREES\n" + "\n".join(frames)))
    lengths = np.linalg.norm(np.diff(clip.xyz.astype(np.float64), axis=1), axis=-1)
    np.testing.assert_allclose(lengths, [UNIT * np.array([2.0, 7.0, 7.5])] * 29, atol=1e-5)  # float32 metres


def test_an_axis_order_and_radians_are_as_the_file_says(tmp_path: Path) -> None:
    folder = amc_folder(
        tmp_path, ASF.replace("axis 0 0 20  XYZ", "axis 0.3 0.2 0.1 ZYX").replace("angle deg", "angle rad")
    )
    bone = next(bone for bone in read_asf(folder / "02.asf").bones if bone.name == "lfemur")
    # Z first by 0.3, then Y by 0.2, then X by 0.1.
    np.testing.assert_allclose(bone.axis, Rotation.from_euler("zyx", (0.3, 0.2, 0.1)).as_matrix(), atol=1e-12)


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_turns_about_an_axis_are_right_handed(axis: str) -> None:
    angles = np.array([0.0, 0.7, -2.0])
    np.testing.assert_allclose(
        axis_turn(axis, angles), Rotation.from_euler(axis, angles[:, None]).as_matrix(), atol=1e-12
    )


@pytest.mark.parametrize(
    ("asf", "amc", "message"),
    [
        (
            ASF,
            AMC.replace("lfemur -40 15 25", "lfemur -40 15"),
            r"02_01.amc: line 10: found 'lfemur' with 2 numbers, expected 3",
        ),
        (
            ASF,
            AMC.replace("ltibia 60", "tail 60"),
            r"line 11: found 'tail' with 1 numbers, expected .* a bone of 02.asf",
        ),
        (ASF, AMC.replace("ltibia 60", "ltibia x"), r"line 11: 'ltibia x' are not numbers"),
        (ASF, AMC.rpartition("ltibia")[0], r"found 'ltibia' in 2 of 3 frames"),
        (ASF, "", r"found 0 frames with a root"),
        (ASF.replace("lfemur ltibia", ""), AMC, r"02.asf: bone 'ltibia': is not below the root"),
        (ASF.replace("lfemur ltibia", "ltibia ltibia"), AMC, r"bone 'ltibia' does not hang on the root"),
        (ASF.replace("length 7.0", "length"), AMC, r"bone 'lfemur': length: found '', expected 1 numbers"),
        (ASF.replace("20  XYZ", "20  XXZ"), AMC, r"axis order 'XXZ'"),
        (ASF.replace("length 0.45", "length 0"), AMC, r":units length: found 0, expected more than 0"),
        (ASF.partition(":hierarchy")[0], AMC, r"has no :bonedata or no :hierarchy"),
        (ASF.partition("    dof rx ry")[0] + ":hierarchy\n", AMC, r"the last one without an end"),
        (ASF.replace("order TX", "order QX"), AMC, r":root order: found qx"),
    ],
)
def test_damaged_asf_and_amc_are_refused_in_one_line(asf: str, amc: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(PosekitError, match=message) as caught:
        read_asf_amc(amc_folder(tmp_path, asf, amc))
    assert "\n" not in str(caught.value)


def test_a_motion_needs_its_skeleton_beside_it(tmp_path: Path) -> None:
    with pytest.raises(PosekitError, match=r"has no .amc file"):
        read_asf_amc(tmp_path)
    amc_folder(tmp_path)
    (tmp_path / "02.asf").rename(tmp_path / "other.asf")
    assert read_asf_amc(tmp_path / "02_01.amc")[0].subject == "other"
    (tmp_path / "third.asf").write_text(ASF)
    with pytest.raises(PosekitError, match=r"found 2 .asf skeletons beside it, expected 02.asf or a single one"):
        read_asf_amc(tmp_path)
    skeleton = read_asf(tmp_path / "third.asf", metres_per_unit=1.0)
    assert read_amc(tmp_path / "02_01.amc", skeleton).xyz[0, 0].tolist() == [2, 1, 17]


BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT LeftUpLeg
  {
    OFFSET 10 0 0
    CHANNELS 3 Zrotation Yrotation Xrotation
    JOINT LeftLeg
    {
      OFFSET 0 -40 0
      CHANNELS 3 Zrotation Yrotation Xrotation
      End Site
      {
        OFFSET 0 -38 0
      }
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.01
1 90 2 0 0 0 0 0 0 0 0 0
1 90 2 10 20 30 40 50 60 0 0 -70
"""


def bvh_folder(folder: Path, bvh: str = BVH, **table: str) -> Path:
    values = {"unit": '"cm"', "up": '"y"', "subject": '"s"'} | table
    joints = '[joints]\nleft_hip = "LeftUpLeg"\nleft_knee = "LeftLeg"\nleft_ankle = "LeftLeg:end"\n'
    (folder / "joints.toml").write_text("\n".join(f"{k} = {v}" for k, v in values.items()) + "\n" + joints)
    (folder / "walk.bvh").write_text(bvh)
    return folder


def test_a_bvh_turns_by_its_channels_in_their_order(tmp_path: Path) -> None:
    (clip,) = load_mocap(f"bvh:{bvh_folder(tmp_path)}")
    assert (clip.name, clip.subject, clip.joints) == ("walk", "s", ("left_hip", "left_knee", "left_ankle"))
    assert clip.fps == pytest.approx(100)
    np.testing.assert_allclose(clip.xyz[0], z_up([[0.11, 0.9, 0.02], [0.11, 0.5, 0.02], [0.11, 0.12, 0.02]]), atol=1e-6)

    # scipy's upper-case orders turn about moving axes: "ZXY" is Rz Rx Ry.
    root = Rotation.from_euler("ZXY", (10, 20, 30), degrees=True).as_matrix()
    hip = root @ Rotation.from_euler("ZYX", (40, 50, 60), degrees=True).as_matrix()
    knee = hip @ Rotation.from_euler("ZYX", (0, 0, -70), degrees=True).as_matrix()
    places = [np.array([1, 90, 2]) + root @ (10, 0, 0)]
    places.append(places[0] + hip @ (0, -40, 0))
    places.append(places[1] + knee @ (0, -38, 0))
    np.testing.assert_allclose(clip.xyz[1], z_up(0.01 * np.array(places)), atol=1e-6)


def test_what_posekit_writes_as_bvh_comes_back(tmp_path: Path) -> None:
    xyz = moving_person(20)[:, None]
    shape = xyz.shape[:3]
    status = np.where(np.isfinite(xyz).all(-1), PointStatus.OK, PointStatus.TOO_FEW_VIEWS).astype(np.uint8)
    empty = np.zeros((*shape, 1), bool), np.full((*shape, 1), np.nan)
    person = Keypoints3D(xyz, np.zeros((*shape, 6)), *empty, status, ("a",), np.arange(20), PERSON, 50.0, "test")
    figures = write_bvh(tmp_path / "person.bvh", person)
    clip = read_bvh(tmp_path / "person.bvh")
    assert clip.fps == pytest.approx(50)
    errors = []
    for joint in ("left_hip", "right_knee", "left_ankle", "left_shoulder", "right_elbow", "left_wrist"):
        errors.append(np.linalg.norm(clip[joint] - xyz[:, 0, PERSON.index(joint)], axis=-1))
    # As near as the skeleton that was fitted is to the joints; the writer's figure is the mean over all of them.
    assert 1000 * np.mean(errors) < 2 * figures.mean_mm + 1


def test_the_subject_of_a_bvh_is_its_folder_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "somebody"
    folder.mkdir()
    (folder / "walk.bvh").write_text(
        "HIERARCHY ROOT left_hip { OFFSET 0 0 0 CHANNELS 3 Xposition Yposition Zposition End Site { OFFSET 0 1 0 } } "
        "MOTION Frames: 1 Frame Time: 0.1 0 0 0"
    )
    monkeypatch.chdir(folder)
    assert load_mocap("bvh:walk.bvh")[0].subject == "somebody"


def test_a_bvh_of_other_names_needs_a_table(tmp_path: Path) -> None:
    path = tmp_path / "walk.bvh"
    path.write_text(BVH.replace("LeftUpLeg", "a").replace("LeftLeg", "b").replace("Hips", "c"))
    with pytest.raises(PosekitError, match=r"has no joint of a name that is known: put a joints.toml beside it"):
        read_bvh(path)
    with pytest.raises(PosekitError, match=r"has no joint 'd' \(left_hip\); it has: c, a, b, b:end"):
        read_bvh(path, BvhJoints({"left_hip": "d"}))
    turned = read_bvh(path, BvhJoints({"left_hip": "a"}, metres_per_unit=1.0, up="z"))
    assert turned.xyz[0, 0].tolist() == [11, 90, 2]


@pytest.mark.parametrize(
    ("bvh", "message"),
    [
        ("", "begins with ''"),
        (BVH.replace("HIERARCHY", "SOLID"), "begins with 'SOLID', expected HIERARCHY"),
        (BVH.partition("MOTION")[0], "hierarchy is damaged or cut off"),
        (BVH.replace("OFFSET 10 0 0", "OFFSET 10 0 x"), "hierarchy is damaged or cut off near word"),
        (BVH.replace("3 Zrotation", "3 Wrotation"), "joint 'LeftUpLeg': found the channel 'wrotation'"),
        (BVH.replace("Frames: 2", "Frames: 3"), "found 24 numbers, expected 3 frames of 12"),
        (BVH.replace("Frames: 2", "Frames: x"), "expected Frames: and Frame Time:"),
        (BVH.replace("0.01\n", "0\n"), "found 2 frames of 0 s"),
        (BVH.replace("-70", "x"), "words that are not numbers"),
        (BVH.replace("JOINT LeftLeg\n    {", "JOINT LeftLeg\n"), "joint 'LeftLeg': found 'OFFSET', expected {"),
        (BVH.replace("}\nMOTION", "MOTION"), "hierarchy is not whole"),
        (BVH.replace("End Site", "Tail Site"), "found 'Tail' in the hierarchy"),
    ],
)
def test_damaged_bvh_files_are_refused_in_one_line(bvh: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(PosekitError, match=message) as caught:
        read_bvh_folder(bvh_folder(tmp_path, bvh))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"unit": '"ell"'}, "unit: found 'ell'"),
        ({"up": '"w"'}, "up: found 'w'"),
        ({"metres_per_unit": "0"}, "metres_per_unit: found 0"),
        ({"tail": "1"}, "found 'tail', expected unit"),
        ({"unit": "cm"}, "is no TOML file"),
    ],
)
def test_damaged_tables_of_joints_are_refused(table: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(PosekitError, match=rf"joints.toml: {message}"):
        read_bvh_folder(bvh_folder(tmp_path, **table))


def positions(path: Path, table: object) -> Path:
    # As NumPy stores a table: as an array without axes of one object.
    np.savez_compressed(path, positions_3d=np.array(table, dtype=object))
    return path


def test_human36m_of_32_joints_and_of_17_are_the_same_people(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    xyz = rng.normal(size=(4, 32, 3)).astype(np.float32)
    kept = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]
    path = positions(tmp_path / "h.npz", {"S1": {"Walking 1": xyz}, "S9": {"SittingDown": xyz[:2, kept]}})
    first, second = load_mocap(f"h36m:{path}")
    assert (first.subject, first.action, first.fps) == ("S1", "walking", 50)
    assert (second.subject, second.action) == ("S9", "sittingdown")
    assert first.joints == H36M_17.joints
    np.testing.assert_array_equal(first.xyz, xyz[:, kept])
    np.testing.assert_array_equal(second.xyz, xyz[:2, kept])
    # Martinez's layout: millimetres, one column a frame.
    folder = tmp_path / "h36m" / "S9" / "MyPoses" / "3D_positions"
    folder.mkdir(parents=True)
    with h5py.File(folder / "Walking 1.h5", "w") as file:
        file["3D_positions"] = 1000 * xyz.reshape(4, 96).T.astype(np.float64)
    (third,) = load_mocap(f"h36m:{tmp_path / 'h36m'}")
    names = {"WalkingDog 1": xyz, "WalkDog": xyz, "TakingPhoto": xyz, "Photo 1": xyz}
    same = load_mocap(f"h36m:{positions(tmp_path / 'names.npz', {'S1': names})}")
    assert [clip.action for clip in same] == ["walkdog", "walkdog", "photo", "photo"]
    assert (third.name, third.subject, third.action) == ("S9/Walking 1", "S9", "walking")
    np.testing.assert_allclose(third.xyz, first.xyz, rtol=1e-6)


def test_human36m_that_is_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "h.npz"
    for table, message in (
        (
            {"S1": {"a": np.zeros((4, 5, 3), np.float32)}},
            r"S1, a: found float32 \(4, 5, 3\), expected joints .* 32 or 17",
        ),
        ({"S1": np.zeros(3)}, "subject 'S1': found ndarray"),
        ({}, "found no action"),
        ([1, 2], "expected nothing but arrays"),
    ):
        with pytest.raises(PosekitError, match=message):
            load_mocap(f"h36m:{positions(path, table)}")
    np.savez(path, other=np.zeros(3))
    with pytest.raises(PosekitError, match=r"holds other.npy, expected positions_3d"):
        load_mocap(f"h36m:{path}")
    path.write_bytes(b"x")
    with pytest.raises(PosekitError, match=r"is no whole .npz"):
        load_mocap(f"h36m:{path}")
    with pytest.raises(PosekitError, match="has no 3D_positions"):
        load_mocap(f"h36m:{tmp_path}")
    folder = tmp_path / "S1" / "3D_positions"
    folder.mkdir(parents=True)
    (folder / "a.h5").write_bytes(b"x")
    with pytest.raises(PosekitError, match=r"a.h5: is damaged or no HDF5 file"):
        load_mocap(f"h36m:{tmp_path}")
    with h5py.File(folder / "a.h5", "w") as file:
        file["3D_positions"] = np.zeros((7, 3))
    with pytest.raises(PosekitError, match=r"3D_positions: found float64 \(7, 3\), expected \(96, frames\)"):
        load_mocap(f"h36m:{tmp_path}")


class _Trap:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple:
        return Path.touch, (self.place,)


def test_a_table_that_runs_something_is_refused_and_not_run(tmp_path: Path) -> None:
    trapped = tmp_path / "trapped"
    path = positions(tmp_path / "h.npz", {"S1": {"a": _Trap(trapped)}})
    with zipfile.ZipFile(path) as archive:
        assert b"touch" in archive.read("positions_3d.npy")
    with pytest.raises(PosekitError, match="such a pickle may run programs"):
        load_mocap(f"h36m:{path}")
    assert not trapped.exists()
    assert pickle.HIGHEST_PROTOCOL >= 4


def test_humaneva_has_15_joints_at_60_frames_a_second(tmp_path: Path) -> None:
    xyz = np.random.default_rng(0).normal(size=(3, 15, 3)).astype(np.float32)
    chunk = {"Throw_Catch 1 chunk0": xyz}
    path = positions(tmp_path / "e.npz", {"Train/S1": chunk, "Validate/S1": chunk, "Train/S2": chunk})
    clips = load_mocap(f"humaneva:{path}")
    clip = clips[0]
    assert (clip.name, clip.action, clip.fps) == ("Train/S1/Throw_Catch 1 chunk0", "throw_catch", 60)
    # Nobody is trained on and held out.
    assert [len(part) for part in hold_out(clips, subjects=["S1"])] == [1, 2]
    np.testing.assert_array_equal(clip["left_wrist"], xyz[:, 4])
    np.testing.assert_array_equal(clip["right_ankle"], xyz[:, 13])
    np.testing.assert_array_equal(clip["head"], xyz[:, 14])


@pytest.mark.parametrize(
    ("name", "action"),
    [("Walking 1", "walking"), ("Box 1 chunk0", "box"), ("Throw_Catch 1", "throw_catch"), ("Eating", "eating")],
)
def test_actions_are_named_without_their_takes(name: str, action: str) -> None:
    assert action_of(name) == action


def standing(count: int, head: int, hips: tuple[int, ...], up: int) -> np.ndarray:
    xyz = np.random.default_rng(0).normal(scale=0.1, size=(6, count, 3))
    xyz[:, list(hips), up] += 0.9
    xyz[:, head, up] += 1.6
    return xyz


@pytest.mark.parametrize(("up", "turned"), [(1, [2, 0, 1]), (2, [0, 1, 2])])
@pytest.mark.parametrize("count", [22, 52])
def test_smpl_joints_are_turned_up_by_where_heads_are(up: int, turned: list[int], count: int, tmp_path: Path) -> None:
    xyz = standing(count, 15, (0,), up)
    folder = tmp_path / "somebody"
    folder.mkdir()
    np.savez(folder / "walk_poses.npz", joints=xyz, mocap_framerate=np.array(120.0))
    np.save(folder / "x.npy", xyz)
    first, second = load_mocap(f"amass:{folder}")
    assert (first.name, first.subject, first.fps, second.fps) == ("walk", "somebody", 120, 20)
    np.testing.assert_allclose(first["left_knee"], xyz[:, 4][:, turned], atol=1e-6)
    np.testing.assert_allclose(second["right_wrist"], xyz[:, 21][:, turned], atol=1e-6)


def test_smpl_joints_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PosekitError, match=r"has no .npz or .npy"):
        load_mocap(f"amass:{tmp_path}")
    path = tmp_path / "a.npz"
    np.savez(path, poses=np.zeros((3, 156)))
    with pytest.raises(PosekitError, match="holds poses, expected joints of SMPL bodies"):
        load_mocap(f"amass:{path}")
    np.savez(path, joints=np.zeros((3, 17, 3)))
    with pytest.raises(PosekitError, match=r"found float64 \(3, 17, 3\)"):
        load_mocap(f"amass:{path}")
    np.savez(path, joints=np.full((3, 22, 3), np.nan))
    with pytest.raises(PosekitError, match="has no frame with hips and head"):
        load_mocap(f"amass:{path}")
    (tmp_path / "b.npy").write_bytes(b"x")
    with pytest.raises(PosekitError, match=r"is no whole .npy"):
        load_mocap(f"amass:{tmp_path / 'b.npy'}")
    lying = np.zeros((3, 22, 3))
    lying[0, 15], lying[1, 15], lying[2, 15] = (1, 0, 0), (0, 1, 0), (0, 0, 1)
    np.savez(path, joints=lying)
    with pytest.warns(PosekitWarning, match="not clear which axis points up"):
        load_mocap(f"amass:{path}")


def annotations(folder: Path, xyz: np.ndarray) -> Path:
    """As MATLAB has them: one table (frames, 84) per camera in a cell."""
    cells = np.empty((14, 1), dtype=object)
    for number in range(14):
        cells[number, 0] = 1000 * xyz.reshape(len(xyz), 84)
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / "annot.mat", {"annot3": cells, "frames": np.arange(len(xyz))})
    return folder / "annot.mat"


def test_3dhp_is_turned_to_the_world_by_its_first_camera(tmp_path: Path) -> None:
    world = standing(28, 7, (4,), 1)
    camera = Rotation.from_euler("xyz", (170, 30, 20), degrees=True).as_matrix()
    folder = tmp_path / "S3" / "Seq2"
    annotations(folder, world @ camera.T + [0.1, 0.2, 3.0])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = camera, (100, 200, 3000)
    numbers = " ".join(f"{value:.7f}" for value in matrix.ravel())
    (folder / "camera.calibration").write_text(
        f"Skeleton Camera\nname 0\n  extrinsic {numbers}\nname 1\n  extrinsic x\n"
    )
    (clip,) = load_mocap(f"3dhp:{tmp_path}")
    assert (clip.subject, clip.action, clip.fps) == ("S3", "Seq2", 25)
    origin = clip["mid_hip"]
    for joint, place in (
        ("left_wrist", 11),
        ("right_knee", 24),
        ("head_top", 7),
        ("left_ankle", 20),
        ("right_elbow", 15),
    ):
        expected = (world[:, place] - world[:, 4])[:, [2, 0, 1]]
        np.testing.assert_allclose(clip[joint] - origin, expected, atol=1e-5)  # millimetres of 7 digits
    (folder / "camera.calibration").write_text("extrinsic 1 2 3\n")
    with pytest.raises(PosekitError, match="first camera has no extrinsic of 16 numbers"):
        load_mocap(f"3dhp:{tmp_path}")
    # Without it a level camera's own axes: y points down.
    (folder / "camera.calibration").unlink()
    annotations(folder, world * [1, -1, -1] + [0, 0, 3])
    (level,) = load_mocap(f"3dhp:{tmp_path}")
    assert (level["head_top"] - level["mid_hip"])[:, 2].mean() == pytest.approx(0.7, abs=0.1)


def test_3dhp_that_is_damaged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PosekitError, match=r"has no annot.mat below it"):
        load_mocap(f"3dhp:{tmp_path}")
    path = tmp_path / "annot.mat"
    savemat(path, {"other": np.zeros(3)})
    with pytest.raises(PosekitError, match="annot3: not found as one table per camera"):
        load_mocap(f"3dhp:{path}")
    cells = np.empty((1, 1), dtype=object)
    cells[0, 0] = np.zeros((3, 51))
    savemat(path, {"annot3": cells})
    with pytest.raises(PosekitError, match=r"annot3: found float64 \(3, 51\), expected \(frames, 84\)"):
        load_mocap(f"3dhp:{path}")
    whole = annotations(tmp_path, standing(28, 7, (4,), 1)).read_bytes()
    for raw in (b"", b"x" * 200, whole[:300], whole[: len(whole) // 2]):
        path.write_bytes(raw)
        with pytest.raises(PosekitError, match=r"annot.mat: is damaged or no .mat file|annot3: not found"):
            load_mocap(f"3dhp:{path}")
