"""A person's decisions on the frames that a run chose: the small file that the review page saves, and rounds honour."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.io.files import require_file, write_whole

SCHEMA = "posekit.review/1"

#: What the file is called in a run folder.
REVIEW_FILE = "review.json"


class ReviewedFrame(NamedTuple):
    """One instance in one frame: the frame's number, the person's place, and the part, such as ``left_hand``."""

    frame: int
    person: int
    part: str


@dataclass(frozen=True)
class Decisions:
    """What was decided; nothing is both rejected and accepted. Frames on which nothing was decided are in neither."""

    rejected: frozenset[ReviewedFrame] = frozenset()
    accepted: frozenset[ReviewedFrame] = frozenset()

    def as_json(self) -> dict[str, Any]:
        """What the file holds, in order."""
        return {
            "schema": SCHEMA,
            **{name: [item._asdict() for item in sorted(getattr(self, name))] for name in ("rejected", "accepted")},
        }


def rejected_frames(folder: str | Path) -> frozenset[ReviewedFrame]:
    """Return what ``review.json`` of a run folder rejects; nothing where there is no such file.

    Raises PosekitError where the file is damaged or of another run.
    """
    return decisions_of(folder).rejected


def learnt_what_is_rejected(folder: str | Path, number: int) -> bool:
    """Whether a round of a run learnt from frames that are rejected by now: then the next one is to be run without them."""
    rejected = rejected_frames(folder)
    selection = Path(folder) / f"round_{number}" / "selection.json"
    if not rejected or not selection.exists():
        return False
    try:
        instances = json.loads(selection.read_text(encoding="utf-8"))["instances"]
        chosen = {
            ReviewedFrame(row["frame"], instance["person"], instance["part"])
            for instance in instances
            for row in instance["frames"]
            if row["chosen"]
        }
    except (ValueError, KeyError, TypeError) as error:
        raise PosekitError(f"{selection}: is damaged ({error})") from None
    return bool(chosen & rejected)


def decisions_of(folder: str | Path) -> Decisions:
    """Read and check ``review.json`` of a run folder; no decisions where there is none."""
    path = Path(folder) / REVIEW_FILE
    return read_decisions(path, folder) if path.exists() else Decisions()


def keep_decisions(path: str | Path, folder: str | Path) -> None:
    """Put a file of decisions into a run folder, in place of what was there, once it has been checked.

    The page saves all that was decided before as well, so nothing is lost by it.
    """
    read_decisions(path, folder)
    kept = Path(folder) / REVIEW_FILE
    if kept.exists() and kept.samefile(path):
        return
    with write_whole(kept) as temporary:
        shutil.copyfile(path, temporary)


def read_decisions(
    path: str | Path, folder: str | Path | None = None, frames: NDArray[np.int64] | None = None
) -> Decisions:
    """Read a file of decisions; with `folder`, check that they are of that run, with `frames`, of frames with these numbers.

    Raises PosekitError in one line that names the file, the place in it, what was found and what was expected.
    """
    path = require_file(path, "the decisions of a review")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise PosekitError(f"{path}: is no JSON ({error}); save it again from the review page") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else content
        raise PosekitError(
            f"{path}: schema is {_short(found)}, '{SCHEMA}' was expected; save it from a run's review page"
        )
    read = {name: _read_list(path, content, name) for name in ("rejected", "accepted")}
    both = sorted(read["rejected"] & read["accepted"])
    if both:
        raise PosekitError(f"{path}: {_said(both[0])} is both rejected and accepted; take it out of one of the lists")
    decided = read["rejected"] | read["accepted"]
    if folder is not None:
        _check_against_run(path, decided, Path(folder))
    strange = [] if frames is None else sorted(item for item in decided if item.frame not in frames)
    if frames is not None and strange:
        raise PosekitError(
            f"{path}: {_said(strange[0])} is not of the keypoints to start from, which have frames {frames.min()} to "
            f"{frames.max()}; is the file of another run?"
        )
    return Decisions(**read)


def _read_list(path: Path, content: dict[str, Any], name: str) -> frozenset[ReviewedFrame]:
    entries = content.get(name, [])
    if not isinstance(entries, list):
        raise PosekitError(f"{path}: {name}: a list was expected, not {_short(entries)}")
    found = set()
    for n, entry in enumerate(entries):
        where = f"{path}: {name}[{n}]"
        if not isinstance(entry, dict):
            raise PosekitError(f'{where}: {{"frame", "person", "part"}} was expected, not {_short(entry)}')
        for field in ("frame", "person"):
            value = entry.get(field)
            # To Python, True is a number.
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise PosekitError(f"{where}: {field} is {_short(value)}, a whole number from 0 was expected")
        if not isinstance(entry.get("part"), str):
            raise PosekitError(f"{where}: part is {_short(entry.get('part'))}, a name such as 'left_hand' was expected")
        found.add(ReviewedFrame(entry["frame"], entry["person"], entry["part"]))
    return frozenset(found)


def _check_against_run(path: Path, decided: Iterable[ReviewedFrame], folder: Path) -> None:
    """Raise PosekitError where something was decided on frames or people that the run does not have."""
    points = folder / "round_0" / "keypoints3d.h5"
    if not points.exists():
        return
    try:
        with h5py.File(points, "r") as file:
            frames, people = set(file["frames"][()].tolist()), int(file["status"].shape[1])
    except (OSError, KeyError) as error:
        raise PosekitError(f"{points}: cannot be read ({error})") from None
    for item in sorted(decided):
        if item.frame not in frames or item.person >= people:
            raise PosekitError(
                f"{path}: {_said(item)} is not of the run in {folder}, which has frames {min(frames)} to {max(frames)} and "
                f"{people} {'person' if people == 1 else 'people'}; is the file of another run?"
            )
    parts = {part for place in folder.glob("round_*/selection.json") for part in _parts_in(place)}
    for item in sorted(decided):
        if parts and item.part not in parts:
            raise PosekitError(f"{path}: {_said(item)}: the run in {folder} learns {', '.join(sorted(parts))}")


def _parts_in(selection: Path) -> list[str]:
    try:
        return [instance["part"] for instance in json.loads(selection.read_text(encoding="utf-8"))["instances"]]
    except (ValueError, KeyError, TypeError) as error:
        raise PosekitError(f"{selection}: is damaged ({error})") from None


def _said(item: ReviewedFrame) -> str:
    return f"frame {item.frame}, person {item.person}, {item.part!r}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
