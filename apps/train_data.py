"""What ``posekit train`` learns from: drawn hands, kept in a folder, and whatever else its options name."""

import json
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

    import posekit
    from posekit.datasets.hand_workers import drawn_hands as hands_of_workers
    from posekit.datasets.synthetic_hands import HandFraming, SyntheticHands
    from posekit.io.files import write_json

    state_path = folder / "state.json"
    wanted = {
        "hands": count,
        "seed": seed,
        "picture": PICTURE,
        "hand_in_picture": _HAND_IN_PICTURE,
        "posekit": posekit.__version__,
    }
    try:
        state: dict[str, Any] = json.loads(state_path.read_text()) if state_path.exists() else {**wanted, "done": 0}
    except ValueError as error:
        raise PosekitError(f"{state_path}: is no JSON ({error}); name another --cache") from error
    if {key: state.get(key) for key in wanted} != wanted:
        raise PosekitError(f"{state_path}: found hands drawn with {state}, expected {wanted}; name another --cache")
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


def held_out_hands(
    seed: int, count: int, part: int, show: Show, folder: Path | None = None, workers: int = 1
) -> "LabelledCrops":
    """Return finished crops of hands that no training sees, with the camera's faults; other ones for another `part`.

    folder: where they are kept, if anywhere; those in it are not drawn again. workers: processes that draw.
    """
    import numpy as np

    from posekit.datasets.hand_workers import finished_hands
    from posekit.datasets.synthetic_hands import SyntheticHands
    from posekit.training.samples import LabelledCrops

    kept = None if folder is None else folder / f"held_out_{seed}_{part}_{count}"
    names = ("images", "joints", "visible")
    if kept is not None and all(kept.with_name(f"{kept.name}_{name}.npy").exists() for name in names):
        images, joints, visible = (np.load(kept.with_name(f"{kept.name}_{name}.npy")) for name in names)
        return LabelledCrops(images, joints, np.ones(joints.shape[:2], np.float32), visible)
    hands = SyntheticHands(seed, CROP, split="validation")
    indices = [1000 * part + number for number in range(-(-count // _CHUNK))]
    parts: list[list[np.ndarray]] = [[], [], []]
    for number, batch in enumerate(finished_hands(hands, indices, _CHUNK, min(workers, len(indices)))):
        parts[0].append(batch.images.permute(0, 2, 3, 1).numpy())
        parts[1].append(batch.joints_px.numpy())
        parts[2].append(batch.visible.numpy())
        show("draw held-out hands", min((number + 1) * _CHUNK, count), count)
    images, joints, visible = (np.concatenate(some)[:count] for some in parts)
    if kept is not None:
        for name, array in zip(names, (images, joints, visible), strict=True):
            _save_array(kept.with_name(f"{kept.name}_{name}.npy"), array)
    return LabelledCrops(images, joints, np.ones(joints.shape[:2], np.float32), visible)


def mixed_source(
    drawn: "SampleSource",
    data: Sequence[str],
    data_share: float,
    crops: Sequence[Path],
    crops_share: float,
    unlabelled: Path | None,
    unlabelled_share: float,
) -> "SampleSource":
    """Return the drawn hands, mixed with the other sources that are named, in crops of `PICTURE` px.

    data: KIND:FOLDER each, which share `data_share` of every batch evenly; so do the files `crops`.
    """
    from posekit.training.samples import MixedSource
    from posekit.training.unlabelled import framed, unlabelled_crops

    others: list[tuple[SampleSource, float]] = []
    for entry in data:
        others.append((_labelled_set(entry), data_share / len(data)))
    for path in crops:
        from posekit.bootstrap.labels import load_crops

        others.append((framed(load_crops(path), PICTURE), crops_share / len(crops)))
    if unlabelled is not None:
        others.append((unlabelled_crops(unlabelled, PICTURE), unlabelled_share))
    rest = 1.0 - sum(share for _, share in others)
    if not others:
        return drawn
    if not rest > 0:
        raise PosekitError(
            f"--data-share, --crops-share, --unlabelled-share: sum to {1 - rest:g}, expected less than 1: the rest is for "
            "drawn hands"
        )
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
