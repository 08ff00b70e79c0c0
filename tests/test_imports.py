import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

# Which rooms a room may import, itself apart. Whatever stands in no room below posekit is the library itself.
MAY_IMPORT = {
    "apps": {"bootstrap", "calibration", "datasets", "library"},
    "bootstrap": {"calibration", "datasets", "library"},
    "calibration": {"library"},
    "datasets": {"calibration", "library"},
    "library": set(),
}
HEAVY = ("torch", "cv2", "kornia", "open3d", "scipy")
RUNS_CODE_FROM_FILES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


class Import(NamedTuple):
    where: str  # file:line, for the failure's message
    module: str  # the importing module
    target: str
    when_loaded: bool  # run by importing the module, not by calling a function of it


@pytest.fixture(scope="session")
def trees(modules: dict[str, Path]) -> dict[str, ast.Module]:
    return {name: ast.parse(file.read_text(), str(file)) for name, file in modules.items()}


@pytest.fixture(scope="session")
def imports(modules: dict[str, Path], trees: dict[str, ast.Module]) -> list[Import]:
    return [
        found
        for name, tree in trees.items()
        for found in find_imports(tree, name, is_package=modules[name].name == "__init__.py", modules=set(modules))
    ]


def find_imports(tree: ast.Module, module: str, *, is_package: bool, modules: set[str]) -> Iterator[Import]:
    def visit(node: ast.AST, when_loaded: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(f"{module}:{node.lineno}", module, alias.name, when_loaded)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".") if is_package else module.split(".")[:-1]
                base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [node.module])])
            for alias in node.names:
                # `from posekit import calibration` imports a module, not a name in one.
                full = f"{base}.{alias.name}"
                yield Import(f"{module}:{node.lineno}", module, full if full in modules else base, when_loaded)
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for child in node.body:
                yield from visit(child, when_loaded=False)
            for child in node.orelse:
                yield from visit(child, when_loaded)
        else:
            in_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for child in ast.iter_child_nodes(node):
                yield from visit(child, when_loaded and not in_function)

    yield from visit(tree, when_loaded=True)


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in MAY_IMPORT else "library"


def test_finder_sees_every_way_to_import():
    source = """
import a.b
from posekit import calibration, __version__
from . import sibling
from ..io.files import write_whole
if TYPE_CHECKING:
    import typed_only
def f():
    import inside
"""
    modules = {"posekit", "posekit.calibration", "posekit.io", "posekit.io.files", "posekit.view.sibling"}
    found = list(find_imports(ast.parse(source), "posekit.view.scene", is_package=False, modules=modules))
    assert [(one.target, one.when_loaded) for one in found] == [
        ("a.b", True),
        ("posekit.calibration", True),
        ("posekit", True),
        ("posekit.view.sibling", True),
        ("posekit.io.files", True),
        ("typed_only", False),
        ("inside", False),
    ]


def test_imports_point_one_way(imports):
    wrong = [
        f"{one.where} imports {one.target}"
        for one in imports
        if one.target.split(".")[0] == "posekit"
        and room_of(one.target) != room_of(one.module)
        and room_of(one.target) not in MAY_IMPORT[room_of(one.module)]
    ]
    assert wrong == []


def test_rooms_are_imported_as_parts_of_posekit(imports):
    # A bare `import calibration` works in the source tree and nowhere else.
    rooms = set(MAY_IMPORT) - {"library"}
    assert [one.where for one in imports if one.target.split(".")[0] in rooms] == []


def test_open3d_is_imported_in_functions_of_the_view_only(imports):
    wrong = [
        one.where
        for one in imports
        if one.target.split(".")[0] == "open3d" and (one.when_loaded or not one.module.startswith("posekit.view."))
    ]
    assert wrong == []


def test_commands_import_heavy_libraries_in_functions_only(imports):
    wrong = [
        f"{one.where} imports {one.target}"
        for one in imports
        if room_of(one.module) == "apps" and one.when_loaded and one.target.split(".")[0] in HEAVY
    ]
    assert wrong == []


def test_only_commands_parse_arguments_and_print(imports, trees):
    wrong = [
        f"{one.where} imports {one.target}"
        for one in imports
        if room_of(one.module) != "apps" and one.target.split(".")[0] in {"argparse", "tyro", "click"}
    ]
    wrong += [
        f"{name}:{node.lineno} prints"
        for name, tree in trees.items()
        if room_of(name) != "apps"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert wrong == []


def test_loading_runs_no_code_from_files(imports, trees):
    wrong = [f"{one.where} imports {one.target}" for one in imports if one.target.split(".")[0] in RUNS_CODE_FROM_FILES]
    for name, tree in trees.items():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            called = ast.unparse(call.func)
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            if (
                called in {"eval", "exec"}
                or (called == "torch.load" and keywords.get("weights_only") != "True")
                or (called in {"np.load", "numpy.load"} and keywords.get("allow_pickle", "False") != "False")
                or called.startswith("yaml.unsafe")
                or (called == "yaml.load" and keywords.get("Loader") not in {"SafeLoader", "yaml.SafeLoader"})
            ):
                wrong.append(f"{name}:{call.lineno} calls {called}")
    assert wrong == []


def test_xml_is_read_through_defusedxml(imports):
    assert [one.where for one in imports if one.target.split(".")[0] in {"xml", "lxml"}] == []


def test_help_imports_nothing_heavy(tmp_path):
    program = """
import json, sys
from posekit.apps.main import main
code = main(["--help"])
print("modules:" + json.dumps([code, *sorted({name.split(".")[0] for name in sys.modules})]))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    code, *loaded = json.loads(run.stdout.rpartition("modules:")[2])
    assert code == 0
    assert "tyro" in loaded
    assert [name for name in HEAVY if name in loaded] == []
