"""What ``posekit train`` learns from: drawn hands, kept in a folder, and whatever else its options name."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posekit.errors import PosekitError

if TYPE_CHECKING:
    import numpy as np

    from posekit.training.composites import CompositedCrops
    from posekit.training.samples import LabelledCrops, SampleSource

#: Rendered hands are kept at 192 px with 58 px of hand, the scale of the 128 px crops, so that a crop can be turned and shrunk
#: before it meets the picture's edge.
PICTURE = 192
CROP = 128
_HAND_IN_PICTURE = 3.3
_BACKGROUND_SIZE = 256
_CHUNK = 64

Show = Callable[[str, int, int], None]


def drawn_hands(
    folder: Path, count: int, backgrounds: int, seed: int, show: Show, workers: int = 1
) -> "CompositedCrops":
    """Return `count` drawn hands over `backgrounds` drawn backgrounds; those in `folder` are not drawn again.

    The arrays stay in the folder as memory maps. workers: processes that draw, each on one processor core; the hands are the
    same for any number. show: function (what, done, total) that is told of the progress.
    """
    import numpy as np
    import torch

    from posekit.datasets.backgrounds import procedural_backgrounds
    from posekit.training.composites import CompositedCrops

    folder.mkdir(parents=True, exist_ok=True)
    _draw_missing(folder, count, seed, show, workers)
    behind_path = folder / f"backgrounds_{backgrounds}.npy"
    if not behind_path.exists():
        parts = []
        for first in range(0, backgrounds, _CHUNK):
            rng = np.random.default_rng((0x7E, seed, 1, 1, first))
            part = procedural_backgrounds(rng, min(_CHUNK, backgrounds - first), _BACKGROUND_SIZE)
            parts.append((part.permute(0, 2, 3, 1) * 255).to(torch.uint8).numpy())
            show("draw backgrounds", min(first + _CHUNK, backgrounds), backgrounds)
        _save_array(behind_path, np.concatenate(parts))
    rgba, joints, visible = _open_arrays(folder, count, "r")
    behind = np.load(behind_path, mmap_mode="r")
    return CompositedCrops(rgba, joints, np.ones(joints.shape[:2], np.float32), behind, visible=visible)


def _draw_missing(folder: Path, count: int, seed: int, show: Show, workers: int) -> None:
    """Draw what a folder does not hold yet, in order, so that a number says how much is there."""
    import torch

    from posekit.datasets.hand_workers import drawn_hands as hands_of_workers
    from posekit.datasets.synthetic_hands import HandFraming, SyntheticHands
    from posekit.io.files import write_json

    state_path = folder / "state.json"
    state = _state_of(state_path, count, seed)
    if state["done"] >= count:
        return
    framing = HandFraming(box_multiple=_HAND_IN_PICTURE, scale=(1.0, 1.0), rotation=0.0, jitter=0.0)
    hands = SyntheticHands(seed, PICTURE, framing=framing, oversample=1.25)
    rgba, joints, visible = _open_arrays(folder, count, "r+" if state["done"] else "w+")
    firsts = range(int(state["done"]), count, _CHUNK)
    # 0x7E: no other stream of chance starts with it, those of the held-out hands least of all.
    seeds = [(0x7E, seed, first // _CHUNK) for first in firsts]
    made = hands_of_workers(hands, seeds, _CHUNK, min(workers, len(seeds)))
    for first, drawn in zip(firsts, made, strict=True):
        stop = min(first + _CHUNK, count)
        part = slice(stop - first)
        rgba[first:stop] = (drawn.rgba[part].permute(0, 2, 3, 1) * 255 + 0.5).to(torch.uint8).numpy()
        joints[first:stop] = drawn.joints_px[part].numpy()
        visible[first:stop] = drawn.visible[part].numpy()
        state["done"] = stop
        write_json(state_path, state)
        show("draw hands", stop, count)


def _state_of(path: Path, count: int, seed: int) -> dict[str, Any]:
    """Return what a folder holds by its state, nothing where there is none; refuse hands that were drawn otherwise."""
    wanted = {
        "hands": count,
        "seed": seed,
        "picture": PICTURE,
        "hand_in_picture": _HAND_IN_PICTURE,
        "generator": _generator(),
    }
    if not path.exists():
        return {**wanted, "done": 0}
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        done = int(state["done"])
    except (ValueError, KeyError, TypeError) as error:
        raise PosekitError(f"{path}: is no state of drawn hands ({error}); name another --cache") from error
    for name, value in wanted.items():
        if state.get(name) != value:
            raise PosekitError(f"{path}: {name}: found {state.get(name)}, expected {value}; name another --cache")
    return {**wanted, "done": done}


def _generator() -> str:
    """Return a hash of the code that draws hands and backgrounds: the same seed draws other ones where it has changed."""
    sources = _drawing_modules()
    return hashlib.sha256(b"".join(sources[name] for name in sorted(sources))).hexdigest()[:16]


def _drawing_modules() -> dict[str, bytes]:
    """Return the sources of `posekit.datasets.synthetic_hands` and of all that it imports from its room, by their names."""
    from posekit import datasets

    folder = Path(datasets.__path__[0])
    to_read, read = ["synthetic_hands"], dict[str, bytes]()
    while to_read:
        name = to_read.pop()
        if name not in read:
            read[name] = (folder / f"{name}.py").read_bytes()
            imported = re.findall(rb"^from posekit\.datasets\.(\w+) import", read[name], re.MULTILINE)
            to_read += [module.decode() for module in imported]
    return read


def _open_arrays(folder: Path, count: int, mode: str) -> tuple["np.ndarray", "np.ndarray", "np.ndarray"]:
    """Open the arrays of a folder: (N, S, S, 4) uint8, (N, 21, 2) float32, (N, 21) bool."""
    import numpy as np

    kinds = (
        ("rgba.npy", np.uint8, (count, PICTURE, PICTURE, 4)),
        ("joints.npy", np.float32, (count, 21, 2)),
        ("visible.npy", np.bool_, (count, 21)),
    )
    rgba, joints, visible = (
        np.lib.format.open_memmap(folder / name, mode, kind, shape)
        if mode == "w+"
        else np.lib.format.open_memmap(folder / name, mode)
        for name, kind, shape in kinds
    )
    return rgba, joints, visible


def _save_array(path: Path, array: "np.ndarray") -> None:
    import numpy as np

    from posekit.io.files import write_whole

    with write_whole(path) as temporary:
        np.save(temporary, array)


def held_out_index(number: int, part: int) -> int:
    """Return which of the validation batches is a part's (0 or 1) number-th: the parts take turns by the thousand.

    One part fits the confidence, the other measures: whatever their number, no batch may be in both.
    """
    return number + 1000 * (number // 1000 + part)


def held_out_hands(
    seed: int, count: int, part: int, show: Show, folder: Path | None = None, workers: int = 1
) -> "LabelledCrops":
    """Return finished crops of hands that no training sees, with the camera's faults; other ones for another `part`.

    folder: where they are kept, if anywhere, beside `drawn_hands`, whose state tells of what generator they are; those in it
    are not drawn again. workers: processes that draw.
    """
    import numpy as np

    from posekit.datasets.hand_workers import finished_hands
    from posekit.datasets.synthetic_hands import SyntheticHands

    names = ("images", "joints", "visible", "seen_px")
    kept = [] if folder is None else [folder / f"held_out_{seed}_{part}_{count}_{name}.npy" for name in names]
    if kept and all(path.exists() for path in kept):
        return _as_crops(*(np.load(path) for path in kept))
    hands = SyntheticHands(seed, CROP, split="validation")
    indices = [held_out_index(number, part) for number in range(-(-count // _CHUNK))]
    parts: list[list[np.ndarray]] = [[] for _ in names]
    for number, batch in enumerate(finished_hands(hands, indices, _CHUNK, min(workers, len(indices)))):
        parts[0].append(batch.images.permute(0, 2, 3, 1).numpy())
        parts[1].append(batch.joints_px.numpy())
        parts[2].append(batch.visible.numpy())
        parts[3].append(batch.seen_px.numpy())
        show("draw held-out hands", min((number + 1) * _CHUNK, count), count)
    arrays = [np.concatenate(some)[:count] for some in parts]
    if kept:
        for path, array in zip(kept, arrays, strict=True):
            _save_array(path, array)
    return _as_crops(*arrays)


def _as_crops(
    images: "np.ndarray", joints: "np.ndarray", visible: "np.ndarray", seen_px: "np.ndarray"
) -> "LabelledCrops":
    import numpy as np

    from posekit.training.samples import LabelledCrops

    return LabelledCrops(images, joints, np.ones(joints.shape[:2], np.float32), visible, seen_px)


def other_sources(
    data: Sequence[str],
    data_share: float,
    crops: Sequence[Path],
    crops_share: float,
    unlabelled: Path | None,
    unlabelled_share: float,
) -> "list[tuple[SampleSource, float]]":
    """Open what is to be mixed with the drawn hands, in crops of `PICTURE` px, each with its share of a batch.

    data: KIND:FOLDER each, which share `data_share` of every batch evenly; so do the files `crops`.
    """
    from posekit.training.unlabelled import framed, unlabelled_crops

    others: list[tuple[SampleSource, float]] = []
    for entry in data:
        others.append((_labelled_set(entry), data_share / len(data)))
    for path in crops:
        from posekit.bootstrap.crop_files import load_crops

        others.append((framed(load_crops(path), PICTURE), crops_share / len(crops)))
    if unlabelled is not None:
        others.append((unlabelled_crops(unlabelled, PICTURE), unlabelled_share))
    total = sum(share for _, share in others)
    if not total < 1:
        raise PosekitError(
            f"--data-share, --crops-share, --unlabelled-share: sum to {total:g}, expected less than 1: the rest is for "
            "drawn hands"
        )
    return others


def mixed_source(drawn: "SampleSource", others: "Sequence[tuple[SampleSource, float]]") -> "SampleSource":
    """Return the drawn hands, mixed with the others in their shares."""
    from posekit.training.samples import MixedSource

    if not others:
        return drawn
    rest = 1.0 - sum(share for _, share in others)
    return MixedSource([drawn, *(source for source, _ in others)], [rest, *(share for _, share in others)])


def check_set(entry: str) -> tuple[str, str]:
    """Return the kind and the folder of a --data entry, a kind that is known and a folder that is named."""
    from posekit.datasets.labelled_hands import KINDS

    kind, _, folder = entry.partition(":")
    if kind not in KINDS or not folder:
        raise PosekitError(f"--data: found '{entry}', expected KIND:FOLDER with a kind of: {', '.join(KINDS)}")
    return kind, folder


def _labelled_set(entry: str) -> "SampleSource":
    """Open a set of --data; its crops are at the scale of the drawn hands."""
    from posekit.datasets.labelled_hands import labelled_hands
    from posekit.detection.hand_box import BOX_FACTOR

    kind, folder = check_set(entry)
    return labelled_hands(kind, folder, PICTURE, box_factor=BOX_FACTOR * PICTURE / CROP)
