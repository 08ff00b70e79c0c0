"""What `posekit calibrate` writes beside its report."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posekit.apps.calibrate import CalibrateConfig
    from posekit.camera import Rig


def settings_of(config: "CalibrateConfig") -> dict[str, object]:
    """What a report says of how it was made."""
    from dataclasses import asdict

    import posekit

    settings = {name: value for name, value in asdict(config).items() if value is not None}
    return {"posekit": posekit.__version__} | settings


def write_outputs(config: "CalibrateConfig", rig: "Rig", content: dict[str, Any]) -> None:
    """Write the rig, its record, and the figures where they were asked for."""
    from posekit.apps.provenance import write_record
    from posekit.calibration.formats import write_aniposelib
    from posekit.io.files import write_json

    assert config.out is not None
    assert config.folder is not None
    write_aniposelib(config.out, rig, f"posekit calibrate {config.folder} --board {config.board}")
    inputs: list[Path] = [
        config.folder,
        *(path for path in (config.intrinsics, config.keypoints, config.points) if path),
    ]
    write_record(config.out, "calibrate", config, inputs, figures=content)
    if config.json:
        write_json(config.json, content)
