import sys
from pathlib import Path

import numpy as np
import pytest

from posekit.errors import PosekitError
from posekit.view.colours import MIDDLE
from posekit.view.mesh import spheres
from posekit.view.offscreen import OffscreenScene
from posekit.view.viewpoint import viewpoint_on


def ball(centre: tuple[float, float, float], radius: float = 0.1):
    return spheres(np.array([centre], float), np.array([radius]), np.array([MIDDLE], np.uint8))


def can_render() -> bool:
    """Tell whether Open3D, its libraries and, on Linux, a Vulkan driver are there."""
    try:
        import open3d  # noqa: F401
    except (ImportError, OSError):
        return False
    drivers = [Path(folder) / "vulkan/icd.d" for folder in ("/usr/share", "/etc", "/usr/local/share")]
    return sys.platform != "linux" or any(folder.glob("*.json") for folder in drivers if folder.is_dir())


def test_pictures_show_things_where_the_viewpoint_projects_them():
    if not can_render():
        pytest.skip("Open3D or a Vulkan driver is missing")
    corners = np.stack(np.meshgrid((-1.0, 1), (-1.0, 1), (-0.5, 0.5)), axis=-1).reshape(-1, 3)
    view = viewpoint_on(corners, np.array([1.0, 0.4, 0.3]), (320, 240))
    places = [(0.0, 0.0, 0.0), (0.5, -0.6, 0.3)]
    with OffscreenScene((320, 240), ball((-0.4, 0.5, -0.2))) as scene:
        images = [scene.render(ball(place), view) for place in places]
    still = view.project(np.array([-0.4, 0.5, -0.2]))
    for image, place in zip(images, places, strict=True):
        yellow = (image[..., 2].astype(int) < 120) & (image[..., 0] > 150)
        assert image.shape == (240, 320, 3)
        assert tuple(image[0, 0]) == (255, 255, 255)
        for expected in (view.project(np.array(place)), still):
            y, x = np.nonzero(yellow)
            mine = np.hypot(x - expected[0], y - expected[1]) < 25
            centre = np.array([x[mine].mean(), y[mine].mean()])
            np.testing.assert_allclose(centre, expected, atol=0.6)  # a ball's outline is a hair off its centre
    # What moved is gone from where it was.
    old = np.round(view.project(np.array(places[0]))).astype(int)
    assert tuple(images[1][old[1], old[0]]) == (255, 255, 255)


def test_without_open3d_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch):
    (tmp_path / "open3d.py").write_text("raise ImportError('libusb-1.0.so.0: cannot open shared object file')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        PosekitError, match=r"libusb-1\.0\.so\.0.*pip install 'posekit\[view\]'.*apt-get install"
    ) as caught:
        OffscreenScene((64, 64), ball((0, 0, 0)))
    assert "\n" not in str(caught.value)


def test_a_renderer_that_dies_is_one_line(tmp_path: Path, monkeypatch):
    (tmp_path / "open3d.py").write_text(
        "import os, signal, sys\n"
        "print('reason: no driver', file=sys.stderr, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(PosekitError, match=r"could not start or broke off \(reason: no driver\)"):
        OffscreenScene((64, 64), ball((0, 0, 0)))
