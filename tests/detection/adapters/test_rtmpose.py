import sys
from types import ModuleType

import numpy as np
import pytest

from posekit.detection.adapters.rtmpose import SOLUTIONS, Rtmpose, detect_people
from posekit.errors import PosekitError


class StandIn:
    """A solution of rtmlib: a person stands in every blue square; joint j is j px to the right of its corner."""

    joints = 0

    def __init__(self, *, mode, to_openpose, backend, device):
        print("load a network")
        assert mode in ("balanced", "lightweight")
        assert not to_openpose  # the other order has 18 joints of a body, or 134
        assert backend == "onnxruntime"
        self.device = device

    def det_model(self, image):
        # Pictures are BGR, as OpenCV reads them.
        rows, columns = np.nonzero(image[..., 0] > 200)
        return np.array([[columns.min(), rows.min(), columns.max(), rows.max()]]) if len(rows) else np.empty((0, 4))

    def pose_model(self, image, bboxes):
        if len(bboxes) == 0:  # as rtmlib does
            bboxes = [[0, 0, image.shape[1], image.shape[0]]]
        along = np.arange(self.joints)
        xy = np.stack([np.stack((box[0] + along, np.full(self.joints, box[1])), axis=-1) for box in bboxes])
        return xy.astype(np.float32), np.tile(np.linspace(-0.1, 1.4, self.joints, dtype=np.float32), (len(bboxes), 1))


@pytest.fixture
def rtmlib(monkeypatch):
    module = ModuleType("rtmlib")
    counts = {"Body": 17, "BodyWithFeet": 26, "Wholebody": 133, "Hand": 21}
    for name, count in counts.items():
        setattr(module, name, type(name, (StandIn,), {"joints": count}))
    monkeypatch.setitem(sys.modules, "rtmlib", module)
    return module


def picture(x: int | None) -> np.ndarray:
    image = np.zeros((40, 60, 3), np.uint8)
    if x is not None:
        image[10:20, x : x + 8, 2] = 255  # RGB: blue
    return image


@pytest.mark.parametrize("kind", SOLUTIONS)
def test_joints_of_every_kind(rtmlib, capsys, kind):
    detector = Rtmpose(kind)
    found = detect_people(iter([picture(5), picture(None), picture(30)]), "cam_1", 25.0, detector)
    assert capsys.readouterr().out == ""
    assert found.skeleton == SOLUTIONS[kind].skeleton == detector.skeleton
    J = found.skeleton.joint_count
    assert found.xy.shape == (3, 1, 1, J, 2)
    np.testing.assert_array_equal(found.xy[2, 0, 0, -1], (30 + J - 1, 10))
    assert found.xy[0, 0, 0, J // 2, 0] == 5 + J // 2
    # Nobody is nobody, not somebody as large as the picture.
    assert np.isnan(found.xy[1]).all()
    assert not found.confidence[1].any()
    # Heights of peaks: below 0 is none at all, above 1 no surer than sure.
    assert np.isnan(found.xy[0, 0, 0, 0]).all()
    assert found.confidence[0, 0, 0, -1] == 1
    np.testing.assert_allclose(found.confidence[0, 0, 0, J // 2], np.linspace(-0.1, 1.4, J)[J // 2], atol=1e-6)


def test_the_device_is_passed_on(rtmlib):
    assert Rtmpose("hand", "cuda")._solution.device == "cuda"


def test_without_rtmlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "rtmlib", None)
    with pytest.raises(PosekitError, match=r"rtmlib.*pip install 'posekit\[rtmpose\]'"):
        Rtmpose()


def test_networks_that_cannot_be_had_are_told_in_one_line(rtmlib, monkeypatch):
    def refuse(**_):
        raise OSError("<urlopen error [Errno -3]\nTemporary failure in name resolution>")

    monkeypatch.setattr(rtmlib, "Wholebody", refuse)
    with pytest.raises(PosekitError, match=r"wholebody networks .*name resolution.*downloads them once") as error:
        Rtmpose("wholebody")
    assert "\n" not in str(error.value)
    monkeypatch.delattr(rtmlib, "Hand")
    with pytest.raises(PosekitError, match="this rtmlib has no Hand"):
        Rtmpose("hand")
