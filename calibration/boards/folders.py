"""Whose pictures are whose: the ways in which people lay out the videos and stills that they took of a board."""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from posekit.capture import VIDEO_SUFFIXES
from posekit.errors import PosekitError, PosekitWarning
from posekit.io.files import natural_order, require_folder

STILL_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")

#: What tools write around a camera's name: Pose2Sim's int_cam01_img and cam01_ext, for one.
_BEFORE = re.compile(r"^(?:int|ext|intrinsics?|extrinsics?|calib)[_-]+(?=.)", re.IGNORECASE)
_AFTER = re.compile(r"(?<=.)[_-]+(?:img|imgs|images?|int|ext|calib)$", re.IGNORECASE)

#: Folders of views that were taken camera by camera, for the lenses: equal numbers in them mean nothing.
_ONE_BY_ONE = re.compile(r"^(?:int|intrinsics?)[_-]", re.IGNORECASE)

#: A camera told by number, in whatever place of a file's name; three digits or more count pictures.
_NUMBERED_CAMERA = re.compile(r"(?<![^\W_])(?:cam(?:era)?|port|view|kinect)[_-]?\d{1,2}(?!\d)", re.IGNORECASE)

#: Words between a camera's name and its picture's number.
_COUNTING_WORD = re.compile(r"[\s_.-]*(?:(?<![^\W_])(?:frame|img|image|photo|pic|shot))?[\s_.-]*$", re.IGNORECASE)


@dataclass(frozen=True)
class Still:
    """One picture of a camera; moment is what the pictures of one moment have in common: their number, where they have one."""

    moment: str
    path: Path


@dataclass(frozen=True)
class BoardFolder:
    """A folder's pictures by camera, in natural order: either videos or stills, the other one is empty.

    simultaneous: whether equal moments of several cameras' stills (or frames of their videos) are one moment.
    """

    folder: Path
    videos: dict[str, Path]
    stills: dict[str, tuple[Still, ...]]
    simultaneous: bool = True


def find_board_folder(folder: str | Path) -> BoardFolder:
    """Find the videos or stills that a person means by a folder.

    In this order: videos in the folder, or in its ``videos``; Pose2Sim's ``intrinsics`` in it; stills in it, told apart by what
    stands before their number (left01.jpg) or by a camera's name in them (cam_0_frame_0200.jpg); a subfolder per camera, of
    stills or with one video; the only folder below that holds any, with a PosekitWarning. Hidden and other files do not count.

    Raises PosekitError where there is nothing of all this, or several folders could be meant.
    """
    folder = require_folder(folder, "videos or stills of a board, by camera")
    for place in (folder, folder / "videos"):
        if videos := _videos(place):
            return BoardFolder(place, _by_camera(videos), {})
    for place in _folders(folder):
        if place.name.lower() == "intrinsics":
            return find_board_folder(place)
    if stills := _stills(folder):
        return BoardFolder(folder, {}, _group_stills(folder, stills))
    subfolders = [place for place in _folders(folder) if _stills(place) or len(_videos(place)) == 1]
    if len(subfolders) > 1 and len({bool(_stills(place)) for place in subfolders}) == 1:
        return _folder_per_camera(folder, subfolders)
    return _the_only_one_below(folder)


def _folder_per_camera(folder: Path, subfolders: list[Path]) -> BoardFolder:
    cameras = _camera_names(subfolders, [place.name for place in subfolders])
    simultaneous = not any(_ONE_BY_ONE.match(place.name) for place in subfolders)
    if not _stills(subfolders[0]):
        return BoardFolder(folder, {name: _videos(place)[0] for name, place in cameras.items()}, {}, simultaneous)
    return BoardFolder(folder, {}, {name: _numbered(place, name) for name, place in cameras.items()}, simultaneous)


def _the_only_one_below(folder: Path) -> BoardFolder:
    places = {path.parent for path in folder.rglob("*") if _is_video(path) or _is_still(path)}
    shown = sorted(
        (place for place in places if not _hidden(place, folder)), key=lambda place: natural_order(str(place))
    )
    parents = {place.parent for place in shown}
    if len(shown) == 1 or (len(parents) == 1 and folder not in parents):
        place = shown[0] if len(shown) == 1 else parents.pop()
        warnings.warn(PosekitWarning(f"{folder}: holds no videos itself; what is in {place} is used"), stacklevel=4)
        return find_board_folder(place)
    if shown:
        names = ", ".join(str(place.relative_to(folder)) for place in shown[:6]) + (", ..." if len(shown) > 6 else "")
        raise PosekitError(
            f"{folder}: holds no videos itself, and several folders below hold some, or stills: {names}; name one"
        )
    raise PosekitError(
        f"{folder}: holds no videos ({', '.join(VIDEO_SUFFIXES)}) and no stills ({', '.join(STILL_SUFFIXES)}); expected: a "
        "video per camera, a folder of stills per camera, or stills named by camera and number"
    )


def _group_stills(folder: Path, paths: list[Path]) -> dict[str, tuple[Still, ...]]:
    """Stills of one folder by camera; the name of a camera is never made of a picture's number."""
    parts = [_split_name(path.stem) for path in paths]
    grouped: dict[str, list[Still]] = {}
    for (camera, number), path in zip(parts, paths, strict=True):
        grouped.setdefault(camera or folder.name, []).append(Still(number, path))
    cameras = sorted(grouped, key=natural_order)
    for camera in cameras:
        numbers = [still.moment for still in grouped[camera]]
        if len(set(numbers)) < len(numbers):
            first = next(still for still in grouped[camera] if numbers.count(still.moment) > 1)
            both = [still.path.name for still in grouped[camera] if still.moment == first.moment]
            raise PosekitError(
                f"{folder}: {both[0]} and {both[1]} are both picture '{first.moment}' of camera '{camera}'"
            )
    return {camera: tuple(grouped[camera]) for camera in cameras}


def _split_name(stem: str) -> tuple[str, str]:
    """The camera's name in a still's, and the picture's number: ('left', '1'), ('cam_0', '200'), ('cam01', '')."""
    if token := _NUMBERED_CAMERA.search(stem):
        rest = stem[: token.start()] + " " + stem[token.end() :]
        numbers = re.findall(r"\d+", rest)
        return token.group(), _number(numbers[-1]) if numbers else ""
    plain = _undecorated(stem)
    if match := re.fullmatch(r"(.*?)(\d+)", plain):
        return _COUNTING_WORD.sub("", match.group(1)) or match.group(1).strip(" _.-"), _number(match.group(2))
    if match := re.fullmatch(r"(\d+)[\s_.-]*(\D+)", plain):
        return match.group(2), _number(match.group(1))
    return plain, ""


def _numbered(folder: Path, camera: str) -> tuple[Still, ...]:
    """One camera's stills, by the number that remains of their names without the camera's."""
    paths = _stills(folder)
    rests = [re.sub(re.escape(camera), " ", path.stem, count=1, flags=re.IGNORECASE) for path in paths]
    numbers = [re.findall(r"\d+", rest) for rest in rests]
    keys = [_number(found[-1]) if found else rest.strip(" _.-") for found, rest in zip(numbers, rests, strict=True)]
    if len(set(keys)) < len(keys):
        keys = [rest.strip() for rest in rests]
    if len(set(keys)) < len(keys):  # 1.jpg beside 1.png
        keys = [path.name for path in paths]
    return tuple(Still(key, path) for key, path in zip(keys, paths, strict=True))


def _by_camera(videos: list[Path]) -> dict[str, Path]:
    stems = [video.stem for video in videos]
    for stem, video in zip(stems, videos, strict=True):
        if stems.count(stem) > 1:
            other = next(path for path in videos if path.stem == stem and path != video)
            raise PosekitError(f"{video.parent}: {video.name} and {other.name} are both of camera '{stem}'")
    return _camera_names(videos, stems)


def _camera_names(paths: list[Path], names: list[str]) -> dict[str, Path]:
    """Names without what tools write around them, unless two would become one."""
    plain = [_undecorated(name) for name in names]
    return dict(zip(plain if len(set(plain)) == len(plain) else names, paths, strict=True))


def _undecorated(name: str) -> str:
    return _AFTER.sub("", _BEFORE.sub("", name))


def _number(digits: str) -> str:
    return str(int(digits))


def _videos(folder: Path) -> list[Path]:
    return [path for path in _shown(folder) if _is_video(path)]


def _stills(folder: Path) -> list[Path]:
    return [path for path in _shown(folder) if _is_still(path)]


def _folders(folder: Path) -> list[Path]:
    return [path for path in _shown(folder) if path.is_dir()]


def _shown(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.name[0] != "."), key=lambda path: natural_order(path.name))


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.name[0] != "." and path.is_file()


def _is_still(path: Path) -> bool:
    return path.suffix.lower() in STILL_SUFFIXES and path.name[0] != "." and path.is_file()


def _hidden(place: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in place.relative_to(folder).parts)
