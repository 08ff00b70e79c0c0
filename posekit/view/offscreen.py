"""Open3D's renderer without a screen, in a process of its own.

Filament, which Open3D renders with, ends the whole process where there is no Vulkan driver and where a second renderer follows
a first one, and it writes to stdout on its own account. In a process of its own none of that reaches the caller,
who gets pictures or one PosekitError.

The two talk in messages: 8 bytes of length, then an .npz archive.
"""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import IO, Any

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.view.mesh import Mesh
from posekit.view.viewpoint import Viewpoint

SYSTEM_LIBRARIES = "libegl1 libgl1 libgomp1 libusb-1.0-0 libvulkan1 libx11-6 mesa-vulkan-drivers"
_NO_OPEN3D = 3
#: Pictures are rendered this many times as wide and as high, and averaged: the smooth edges of thin tubes.
_SUPERSAMPLING = 2


class OffscreenScene:
    """A scene that is rendered to arrays; a context manager, since a process stands behind it.

    size: (width, height) px. still: what stays the same in every picture. Raises PosekitError where Open3D or what it
    needs of the system is missing.
    """

    def __init__(self, size: tuple[int, int], still: Mesh) -> None:
        self.size = size
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            # -P: what lies in the working folder must not be taken for a library.
            [sys.executable, "-P", "-m", "posekit.view.offscreen"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._ask({"size": np.array(size), **mesh_arrays(still)})

    def __enter__(self) -> "OffscreenScene":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process. Filament may fail on its way out, when all pictures are there: that is nobody's concern."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def render(self, moving: Mesh, viewpoint: Viewpoint) -> UInt8[np.ndarray, "H W 3"]:
        """Render what stands still together with `moving`."""
        answer = self._ask({"matrix": viewpoint.matrix, "pose": viewpoint.camera_from_world, **mesh_arrays(moving)})
        image: UInt8[np.ndarray, "H W 3"] = answer["image"]
        return image

    def _ask(self, message: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            _send(self._process.stdin, message)
        except BrokenPipeError:
            answer = None
        else:
            answer = _receive(self._process.stdout)
        if answer is None:
            raise self._failure()
        return answer

    def _failure(self) -> PosekitError:
        code = self._process.wait()
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        self.close()
        last = lines[-1] if lines else f"exit code {code}"
        if code == _NO_OPEN3D:
            return PosekitError(missing_open3d(last))
        reason = next((line for line in lines if line.startswith("reason:")), last)
        return PosekitError(
            f"Open3D's renderer could not start or broke off ({reason}); it needs a Vulkan driver, "
            f"which these packages of Debian bring: {SYSTEM_LIBRARIES}"
        )


def missing_open3d(reason: str) -> str:
    """Say in one line how to get Open3D."""
    return (
        f"the 3D view needs Open3D, which cannot be imported ({reason}): pip install 'posekit[view]'; "
        f"on Debian also apt-get install {SYSTEM_LIBRARIES}"
    )


def mesh_arrays(mesh: Mesh) -> dict[str, NDArray[Any]]:
    """Return what Open3D is given of a mesh."""
    return {
        "vertices": mesh.vertices,
        "triangles": mesh.triangles,
        "colours": mesh.shaded_colours(),
        "normals": mesh.normals,
    }


def _send(stream: IO[bytes], message: dict[str, NDArray[Any]]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **message)
    stream.write(buffer.tell().to_bytes(8, "little"))
    stream.write(buffer.getbuffer())
    stream.flush()


def _receive(stream: IO[bytes]) -> dict[str, NDArray[Any]] | None:
    """Read one message; None where the other side has ended."""
    length = int.from_bytes(stream.read(8), "little")
    content = stream.read(length) if length else b""
    if not length or len(content) < length:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return dict(archive)


def _serve() -> int:
    """Render for the parent until it closes the pipe."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Filament prints to stdout, where the pictures go.
    try:
        import open3d
        from open3d.visualization import rendering
    except (ImportError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return _NO_OPEN3D
    first = _receive(requests)
    if first is None:
        return 0
    width, height = (_SUPERSAMPLING * int(length) for length in first["size"])
    renderer = rendering.OffscreenRenderer(width, height)
    scene = renderer.scene
    scene.set_background([1.0, 1.0, 1.0, 1.0])
    scene.view.set_post_processing(False)  # its tone mapping would change the colours
    # Multisampling is resolved only in post-processing; without it, it costs half of the time and changes nothing.
    scene.view.set_sample_count(1)
    scene.view.set_antialiasing(False)
    material = rendering.MaterialRecord()
    material.shader = "defaultUnlit"
    # Pixel (0, 0) is the centre of the top-left pixel, in the large picture as in the small one.
    scale, offset = np.diag([_SUPERSAMPLING, _SUPERSAMPLING, 1.0]), np.zeros((3, 3))
    offset[:2, 2] = (_SUPERSAMPLING - 1) / 2

    def show(name: str, message: dict[str, NDArray[Any]]) -> None:
        if scene.has_geometry(name):
            scene.remove_geometry(name)
        if len(message["triangles"]):
            scene.add_geometry(name, open3d_mesh(open3d, message), material)

    show("still", first)
    _send(answers, {})
    while (message := _receive(requests)) is not None:
        show("moving", message)
        renderer.setup_camera(scale @ message["matrix"] + offset, message["pose"], width, height)
        large = np.asarray(renderer.render_to_image())[..., :3]
        total = np.zeros((height // _SUPERSAMPLING, width // _SUPERSAMPLING, 3), dtype=np.uint16)
        for y, x in np.ndindex(_SUPERSAMPLING, _SUPERSAMPLING):
            total += large[y::_SUPERSAMPLING, x::_SUPERSAMPLING]
        _send(answers, {"image": (total // _SUPERSAMPLING**2).astype(np.uint8)})
    # Filament's own tidying up may end in an abort; every picture has been sent.
    answers.flush()
    os._exit(0)


def open3d_mesh(open3d: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """Turn a mesh's arrays into Open3D's TriangleMesh."""
    mesh = open3d.geometry.TriangleMesh()
    mesh.vertices = open3d.utility.Vector3dVector(arrays["vertices"].astype(np.float64))
    mesh.triangles = open3d.utility.Vector3iVector(arrays["triangles"])
    # An unlit mesh without a texture needs neither normals nor texture coordinates, but Filament's shader reads both; where
    # a mesh has none, it reads whatever memory holds. Mesa's software renderer then filtered across textures of any
    # size, and one picture in ten took minutes.
    mesh.vertex_normals = open3d.utility.Vector3dVector(arrays["normals"].astype(np.float64))
    mesh.triangle_uvs = open3d.utility.Vector2dVector(np.zeros((3 * len(arrays["triangles"]), 2)))
    mesh.vertex_colors = open3d.utility.Vector3dVector(arrays["colours"].astype(np.float64))
    return mesh


if __name__ == "__main__":
    sys.exit(_serve())
