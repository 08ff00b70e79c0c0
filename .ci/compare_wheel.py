"""Hold a wheel against the source tree: every module and data file is in it, byte for byte, and nothing else."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

root = Path(__file__).resolve().parents[1]
package_dir: dict[str, str] = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]

# What git tracks or would track, where this is a checkout: editors and tests leave files of their own between the sources.
expected = {}
for package, folder in package_dir.items():
    command = ["git", "ls-files", "-co", "--exclude-standard", "--", folder]
    listing = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
    files = [root / line for line in listing.stdout.splitlines()]
    if listing.returncode != 0:
        files = [file for file in (root / folder).rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    for file in files:
        if file.is_file():
            expected[f"{package.replace('.', '/')}/{file.relative_to(root / folder).as_posix()}"] = file
with zipfile.ZipFile(sys.argv[1]) as wheel:
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    changed = sorted(name for name in found & expected.keys() if wheel.read(name) != expected[name].read_bytes())
missing, surplus = sorted(expected.keys() - found), sorted(found - expected.keys())
if missing or surplus or changed:
    sys.exit(
        f"compare_wheel: missing from the wheel: {missing or 'nothing'}; only in the wheel: {surplus or 'nothing'}; "
        f"not as in the sources: {changed or 'nothing'}"
    )
print(f"compare_wheel: all {len(found)} files are in the wheel, byte for byte")
