"""What ``posekit train`` checks before it works."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from posekit.apps.train_data import CROP, check_set

if TYPE_CHECKING:
    from posekit.apps.train import TrainConfig
    from posekit.training.size_schedule import SizeSchedule


def check(config: "TrainConfig") -> "SizeSchedule":
    """Say before the work, not after it, what cannot be; return the schedule of sizes."""
    import torch

    from posekit.apps.checks import require_networks, require_places, require_positive, require_seed
    from posekit.errors import PosekitError
    from posekit.io.files import require_file, require_folder
    from posekit.training.distillation import DistillationSettings
    from posekit.training.precision import autocast_kind
    from posekit.training.run_log import require_tensorboard

    require_places([config.out, config.checkpoint], files_read(config))
    if config.out.suffix != ".safetensors":
        raise PosekitError(f"{config.out}: weights are a safetensors file, a name ending in .safetensors was expected")
    if config.network is not None:
        require_networks("--network", [config.network])
    require_seed(config.seed)
    if config.start is not None and config.backbone_weights is not None:
        raise PosekitError(
            "--backbone-weights: found beside --start, which has weights for all of the network; name one"
        )
    for name in ("minutes", "learning_rate", "save_every", "temperature"):
        require_positive(f"--{name.replace('_', '-')}", getattr(config, name))
    least_of = {"hands": 1, "backgrounds": 1, "held_out": 2, "steps": 1, "batch_size": 2, "checkpoint_every": 1}
    for name, least in (*least_of.items(), ("threads", 1), ("loaders", 0)):
        value = getattr(config, name)
        if value is not None and not value >= least:
            raise PosekitError(f"--{name.replace('_', '-')}: found {value}, expected {least} or more")
    for name in ("data_share", "crops_share", "unlabelled_share"):
        if not 0 < getattr(config, name) < 1:
            raise PosekitError(
                f"--{name.replace('_', '-')}: found {getattr(config, name):g}, expected more than 0 and less than 1"
            )
    if config.precision != "auto":
        autocast_kind(config.precision, torch.device(config.device))
    for option, folder in (("--cache", config.cache), ("--log", config.log)):
        if folder is not None and folder.exists():
            require_folder(folder, f"a folder for {option}")
    if config.log is not None:
        require_tensorboard()
    for entry in config.data:
        check_set(entry)
    for path in config.crops:
        require_file(path, "crops.h5 of posekit bootstrap")
    if config.unlabelled is not None and config.teacher is None:
        raise PosekitError("--unlabelled: pictures without labels teach nothing without --teacher")
    if config.teacher_size is not None and config.teacher is None:
        raise PosekitError("--teacher-size: found without --teacher, there is nobody to show crops to")
    # It says itself what it cannot be.
    DistillationSettings(config.teacher_weight, config.temperature, config.feature_weight, config.teacher_size)
    return parse_sizes(config.sizes)


def parse_sizes(entries: tuple[str, ...]) -> "SizeSchedule":
    """Read SHARE:SIZE entries."""
    from posekit.errors import PosekitError
    from posekit.training.size_schedule import SizeSchedule

    stages = []
    for entry in entries:
        share, _, size = entry.partition(":")
        try:
            stages.append((float(share), int(size)))
        except ValueError as error:
            raise PosekitError(f"--sizes: found '{entry}', expected SHARE:SIZE as in 0.4:64") from error
        if not 0 < stages[-1][0] < math.inf or stages[-1][1] <= 0 or stages[-1][1] % 32:
            raise PosekitError(f"--sizes: found '{entry}', expected a share > 0 and a positive multiple of 32")
    if not stages or stages[-1][1] != CROP:
        raise PosekitError(f"--sizes: found {' '.join(entries)}, expected the last to be of {CROP} px")
    return SizeSchedule(stages)


def files_read(config: "TrainConfig") -> list[Path]:
    """Return the files of weights and labels that the options name."""
    named = (config.start, config.backbone_weights, config.teacher, *config.average, *config.crops)
    return [path for path in named if path is not None]
