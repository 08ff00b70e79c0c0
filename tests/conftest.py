import importlib.util
import os
import sys
from pathlib import Path

import pytest

# Read when the libraries load, so before any test imports them. Several workers share the processors, and results with
# one thread are the same everywhere.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
    os.environ.setdefault(variable, "1")

# Python's readline tells processes that it starts, such as pytest's workers, how wide the terminal is: what commands print
# would be wrapped by where the tests run.
for variable in ("COLUMNS", "LINES"):
    os.environ.pop(variable, None)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Networks draw their first weights from torch's global generator: the same ones in every run, in any order of tests."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of recordings beside the checkout; ``POSEKIT_SHARED_DATA`` names another one."""
    beside_checkout = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("POSEKIT_SHARED_DATA", beside_checkout))
    if not folder.is_dir():
        pytest.skip(f"no recordings in {folder}; POSEKIT_SHARED_DATA names another folder")
    return folder


# The folders at the top of the source tree; pyproject.toml installs them as parts of one package.
ROOMS = ("posekit", "posekit.apps", "posekit.bootstrap", "posekit.calibration", "posekit.datasets")


@pytest.fixture(scope="session")
def modules() -> dict[str, Path]:
    """Return every module of posekit and its file, wherever it is installed: in a source tree or from a wheel."""
    found = {}
    for room in ROOMS:
        spec = importlib.util.find_spec(room)
        assert spec is not None, f"{room} is not installed"
        assert spec.origin is not None, f"{room} has no __init__.py"
        folder = Path(spec.origin).parent
        for file in folder.rglob("*.py"):
            parts = file.relative_to(folder).with_suffix("").parts
            found[".".join((room, *parts)).removesuffix(".__init__")] = file
    return found
