import importlib
import importlib.metadata
import tomllib
from pathlib import Path
from typing import Any

import pytest

import posekit

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """Return pyproject.toml."""
    file = ROOT / "pyproject.toml"
    if not file.is_file():
        pytest.skip("these tests run away from the source tree, so there is no pyproject.toml to hold against")
    return tomllib.loads(file.read_text())


def test_package_list_names_the_folders_on_disk(project):
    on_disk = set()
    for package, folder in project["tool"]["setuptools"]["package-dir"].items():
        for file in (ROOT / folder).rglob("*.py"):
            on_disk.add(".".join((package, *file.parent.relative_to(ROOT / folder).parts)))
    assert sorted(project["tool"]["setuptools"]["packages"]) == sorted(on_disk)


def test_every_folder_at_the_top_is_installed(project):
    # An unlisted folder with Python files would not be in the wheel, and nothing else would say so.
    at_the_top = {file.parent.name for file in ROOT.glob("[a-z]*/__init__.py")}
    assert at_the_top == set(project["tool"]["setuptools"]["package-dir"].values())


def test_constraints_hold_every_dependency(project):
    def name(requirement: str) -> str:
        return requirement.split(";")[0].split(">")[0].strip().lower().replace("_", "-")

    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    wanted = {name(requirement) for requirement in project["project"]["dependencies"]}
    wanted |= {name(requirement) for requirement in project["project"]["optional-dependencies"]["dev"]}
    assert wanted - pinned == set()


def test_versions_agree(project):
    assert project["project"]["version"] == posekit.__version__


def test_installed_version_and_console_script():
    distribution = importlib.metadata.distribution("posekit")
    assert distribution.version == posekit.__version__
    scripts = {entry.name: entry.value for entry in distribution.entry_points if entry.group == "console_scripts"}
    assert scripts == {"posekit": "posekit.apps.main:main"}


def test_every_module_imports(modules):
    for name in modules:
        assert importlib.import_module(name).__name__ == name


def test_types_are_announced(modules):
    assert modules["posekit"].with_name("py.typed").is_file()
