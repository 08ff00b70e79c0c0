"""Skeletons in files: a known one by its name, somebody's own with all that it is."""

import json

from posekit.errors import PosekitError
from posekit.skeleton.names import get_skeleton
from posekit.skeleton.record import Skeleton


def is_known(skeleton: Skeleton) -> bool:
    """Tell whether its name is enough to have it again."""
    try:
        return get_skeleton(skeleton.name) == skeleton
    except PosekitError:
        return False


def skeleton_definition(skeleton: Skeleton) -> str:
    """Return as JSON what `defined_skeleton` needs besides the name and the joints: bones, left_right and parts."""
    parts = {name: list(joints) for name, joints in skeleton.parts.items()}
    return json.dumps({"bones": skeleton.bones, "left_right": skeleton.left_right, "parts": parts})


def defined_skeleton(name: str, joints: tuple[str, ...], definition: str) -> Skeleton:
    """Return the skeleton of a definition; raises PosekitError where it is none."""
    try:
        content = json.loads(definition)
        bones, left_right = (tuple((int(a), int(b)) for a, b in content[key]) for key in ("bones", "left_right"))
        parts = {str(part): tuple(map(int, places)) for part, places in content["parts"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise PosekitError(f"skeleton {name}: its definition cannot be read ({error})") from None
    return Skeleton(name, joints, bones, left_right, parts)
