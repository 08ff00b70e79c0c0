"""``posekit triangulate``: 2D keypoints and a rig to people in 3D."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from posekit.camera import Rig
    from posekit.io.video import VideoReader
    from posekit.keypoints import KeypointSource
    from posekit.people.reconstruction import Reconstruction
    from posekit.skeleton import Skeleton


@dataclass(frozen=True)
class TriangulateConfig:
    """Triangulate everyone seen by two cameras or more. Person 0 is the one whom the cameras saw best."""

    keypoints: Annotated[Path, tyro.conf.Positional]
    """keypoints2d.h5, OpenPose JSON (folders <camera>_json), COCO JSON, DeepLabCut, MediaPipe arrays or Caliscope's points."""
    rig: Path
    """The cameras: any camera file that posekit knows (see `posekit convert --help`)."""
    out: Path
    """The keypoints3d.h5 to write."""
    skeleton: str | None = None
    """Order of the joints, such as BODY_25, where files do not say it; told by the joints' number and places if not given."""
    fps: float | None = None
    """Frames per second. JSON does not say it: the videos beside the folder (<folder>/../videos) do, if there are any."""
    threshold_px: float | None = None
    """How far a body detection may lie from its reprojection and still agree; measured on the capture if not given."""
    min_views: int = 2
    """Views that must agree on a point."""
    keep_swaps: bool = False
    """Leave left and right as the detector has them, where a view confused them."""
    joints: tuple[str, ...] = ()
    """Joints that the figures count; the body's without eyes and ears if not given."""
    json: Path | None = None
    """Write the figures here, too."""


def main(config: TriangulateConfig) -> None:
    """Run the command."""
    import time
    from contextlib import nullcontext

    from posekit.apps.in_step import in_step
    from posekit.apps.progress import progress_bars
    from posekit.apps.provenance import write_record
    from posekit.apps.tables import figures_console
    from posekit.calibration.formats import read_rig
    from posekit.camera import match_camera_names
    from posekit.errors import PosekitError
    from posekit.io.files import write_json
    from posekit.io.keypoint_streams import writing_keypoints3d
    from posekit.people.reconstruction import PeopleInCapture, ReconstructionSettings

    _check(config)
    rig = read_rig(config.rig)
    keypoints = open_detections(config.keypoints, rig, config.skeleton, config.fps)
    rig = match_camera_names(rig, keypoints.cameras)
    keypoints = in_step(config.keypoints, keypoints, rig)
    if config.min_views > len(keypoints.cameras):
        raise PosekitError(
            f"--min-views: {config.min_views} views are asked for, there are {len(keypoints.cameras)} cameras"
        )
    figures = Figures(keypoints.skeleton, config.joints)
    settings = ReconstructionSettings(config.threshold_px, config.min_views, mend_swaps=not config.keep_swaps)
    start = time.perf_counter()
    with progress_bars() if len(keypoints.frames) > 500 else nullcontext() as show:
        everyone = PeopleInCapture(keypoints, rig, settings, show)
        source = f"{keypoints.source} + {rig.source}"
        with writing_keypoints3d(config.out, keypoints, everyone.person_count, source) as file:
            for piece in everyone.reconstruct():
                file.write(piece.people)
                figures.add(piece)
    measured = figures.measured(time.perf_counter() - start)
    write_record(config.out, "triangulate", config, [config.keypoints, config.rig], figures=measured)
    if config.json:
        write_json(config.json, measured)
    print_figures(figures_console(), measured)


def _check(config: TriangulateConfig) -> None:
    """Say before the work, not after it, that a number cannot be or that the result could not be written."""
    from posekit.apps.checks import require_places, require_positive
    from posekit.apps.provenance import record_path
    from posekit.errors import PosekitError

    require_places((config.out, record_path(config.out), config.json), (config.keypoints, config.rig))
    if config.out.suffix.lower() not in (".h5", ".hdf5"):
        raise PosekitError(f"{config.out}: the result is an HDF5 file, a name ending in .h5 was expected")
    if config.min_views < 2:
        raise PosekitError(f"--min-views: {config.min_views} views cannot place a point, 2 or more were expected")
    require_positive("--threshold-px", config.threshold_px)
    require_positive("--fps", config.fps)


def open_detections(path: Path, rig: "Rig", skeleton: str | None, fps: float | None) -> "KeypointSource":
    """Open 2D keypoints of any kind; fps as the videos beside them have it, where it is not given.

    Warns where these videos' pictures are not as large as the rig says.
    """
    from posekit.io.keypoint_files import open_keypoints

    videos = videos_beside(path)
    sizes = {camera.name: camera.size for camera in rig.cameras}
    for name, video in videos.items():
        if name in sizes:
            rig.check_video_size(name, video.size, str(video.path), refuse=False)
    rate = next((video.fps for video in videos.values()), None)
    return open_keypoints(path, skeleton, fps or rate, sizes)


def videos_beside(keypoints: Path) -> dict[str, "VideoReader"]:
    """Videos, by name, of the capture that a folder of JSON is part of: those in <folder>/../videos that can be read."""
    from contextlib import suppress

    from posekit.capture import VIDEO_SUFFIXES
    from posekit.errors import PosekitError
    from posekit.io.video import VideoReader

    videos = {}
    if keypoints.is_dir():
        for path in sorted((keypoints.resolve().parent / "videos").glob("*.*")):
            if path.suffix.lower() in VIDEO_SUFFIXES:
                with suppress(PosekitError):
                    videos[path.stem] = VideoReader(path)
    return videos


class Figures:
    """Figures of everyone over some joints, gathered piece by piece; the body's without eyes and ears if none are named."""

    def __init__(self, skeleton: "Skeleton", joints: tuple[str, ...]) -> None:
        usual = (skeleton.joints[joint] for joint in skeleton.body_joints)
        self._joints = joints or tuple(joint for joint in usual if not joint.endswith(("_eye", "_ear")))
        self._places = skeleton.indices(self._joints)  # raises for a name that is not there
        self._persons: list[_PersonFigures] = []
        self._hands = {part: skeleton.part(part) for part in ("left_hand", "right_hand") if part in skeleton.parts}
        self._of_hands: list[dict[str, _PersonFigures]] = []
        self._points = 0
        self._swapped = 0
        self._residuals: tuple[float, float] = (float("nan"), float("nan"))

    def add(self, result: "Reconstruction") -> None:
        """Take the next frames."""
        import numpy as np

        people = result.people
        count = people.xyz.shape[1]
        self._persons = self._persons or [_PersonFigures() for _ in range(count)]
        self._of_hands = self._of_hands or [{part: _PersonFigures() for part in self._hands} for _ in range(count)]
        for p, person in enumerate(self._persons):
            person.add(result, p, self._places)
            for part, hand in self._of_hands[p].items():
                hand.add(result, p, self._hands[part])
        self._points += int(np.isfinite(people.xyz[..., 0]).sum())
        self._swapped += int(result.swapped.sum())
        self._residuals = result.threshold_px, result.rig_residual_px

    def measured(self, seconds: float) -> dict[str, Any]:
        """Return person 0's figures, and the same of everyone under ``persons``."""
        persons = [
            {
                **person.measured(),
                **({"hands": {part: hand.measured() for part, hand in hands.items()}} if hands else {}),
            }
            for person, hands in zip(self._persons, self._of_hands, strict=True)
        ]
        return {
            **persons[0],
            "points_per_second": self._points / seconds,
            "people": len(persons),
            "threshold_px": self._residuals[0],
            "rig_residual_px": self._residuals[1],
            "swapped": self._swapped,
            "joints": list(self._joints),
            "persons": persons,
        }


class _PersonFigures:
    """One person's errors, as they are: an hour of 8 cameras and 21 joints is 150 MB of them."""

    def __init__(self) -> None:
        self._kept: list[NDArray[np.float32]] = []
        self._every: list[NDArray[np.float32]] = []
        self._points = self._failed = self._views = self._frames = 0

    def add(self, result: "Reconstruction", p: int, joints: "NDArray[np.int64]") -> None:
        """Take the next frames of person p's joints."""
        import numpy as np

        from posekit.keypoints import CONFIDENT

        people = result.people
        error, kept = people.reprojection_px[:, p, joints], people.inliers[:, p, joints]
        confident = result.detections.confidence[:, :, p, joints].transpose(0, 2, 1) >= CONFIDENT
        found = np.asarray(np.isfinite(people.xyz[:, p, joints]).all(axis=-1))
        self._kept.append(error[kept])
        self._every.append(error[confident & np.isfinite(error)])
        self._points += int(found.sum())
        self._failed += int((~found).sum())
        self._views += int(kept[found].sum())
        self._frames += int(found.any(axis=-1).sum())

    def measured(self) -> dict[str, Any]:
        """Return the figures; None for a mean of nothing."""
        import numpy as np

        kept, every = np.concatenate(self._kept), np.concatenate(self._every)
        return {
            "mean_reprojection_px": float(kept.mean(dtype=np.float64)) if kept.size else None,
            "mean_all_views_px": float(every.mean(dtype=np.float64)) if every.size else None,
            "median_reprojection_px": float(np.median(kept)) if kept.size else None,
            "points": self._points,
            "points_failed": self._failed,
            "views_per_point": self._views / self._points if self._points else 0.0,
            "frames": self._frames,
        }


def print_figures(console: Any, figures: dict[str, Any]) -> None:
    """Print one row per person."""
    from posekit.apps.tables import figures_table, number
    from posekit.keypoints import CONFIDENT

    table = figures_table(
        f"{len(figures['joints'])} joints; views agree within {figures['threshold_px']:.1f} px",
        ("person", "frames", "points", "failed", "views/point", "mean px", "median px", "all views px"),
    )
    for p, person in enumerate(figures["persons"]):
        table.add_row(
            str(p),
            str(person["frames"]),
            str(person["points"]),
            str(person["points_failed"]),
            f"{person['views_per_point']:.2f}",
            number(person["mean_reprojection_px"], 2),
            number(person["median_reprojection_px"], 2),
            number(person["mean_all_views_px"], 2),
        )
    console.print(table)
    if any("hands" in person for person in figures["persons"]):
        console.print(_hands_table(figures["persons"]))
    if figures["swapped"]:
        console.print(f"left and right exchanged in {figures['swapped']} detections of joints")
    console.print(f"mean and median: over the views kept; all views: with confidence {CONFIDENT} or more, kept or not")


def _hands_table(persons: list[dict[str, Any]]) -> Any:
    """One row for each hand of each person."""
    from posekit.apps.tables import figures_table, number

    columns = ("person", "hand", "frames", "points", "failed", "views/point", "mean px", "median px")
    table = figures_table("hands", columns)
    for p, person in enumerate(persons):
        for part, hand in person["hands"].items():
            table.add_row(
                str(p),
                part.removesuffix("_hand"),
                str(hand["frames"]),
                str(hand["points"]),
                str(hand["points_failed"]),
                f"{hand['views_per_point']:.2f}",
                number(hand["mean_reprojection_px"], 2),
                number(hand["median_reprojection_px"], 2),
            )
    return table
