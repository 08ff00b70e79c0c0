"""Build build/types, where posekit's folders stand as they import (posekit/apps and so on), for type checkers."""

import shutil
import tomllib
from pathlib import Path

root = Path(__file__).resolve().parents[1]
package_dir: dict[str, str] = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]
tree = root / "build" / "types"
shutil.rmtree(tree, ignore_errors=True)
(tree / "posekit").mkdir(parents=True)
# The folder posekit itself is a real one, so that its siblings can stand in it; what it holds are links.
for entry in (root / package_dir["posekit"]).iterdir():
    if entry.name != "__pycache__":
        (tree / "posekit" / entry.name).symlink_to(entry)
for package, folder in package_dir.items():
    if package != "posekit":
        tree.joinpath(*package.split(".")).symlink_to(root / folder)
