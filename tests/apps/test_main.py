import ast
import errno
import importlib.metadata
import os
import subprocess
import sys
import time
import types
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest

from posekit import __version__
from posekit.apps import main as command_line
from posekit.errors import PosekitError, PosekitWarning


@dataclass(frozen=True)
class Config:
    """Do one thing to a file."""

    file: Path
    times: int = 1


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch):
    """Make a function the only command, called ``act``."""

    def make(act):
        module = types.ModuleType("posekit.apps.act")
        module.Config = Config

        def main(config: Config) -> int | None:
            return act(config)

        module.main = main
        monkeypatch.setitem(sys.modules, "posekit.apps.act", module)
        monkeypatch.setattr(command_line, "COMMANDS", {"act": "posekit.apps.act", "rest": "posekit.apps.act"})

    return make


def raising(error: BaseException):
    def act(_: Config) -> None:
        raise error

    return act


def test_config_reaches_the_command(command):
    seen = []
    command(seen.append)
    assert command_line.main(["act", "--file", "a.h5", "--times", "3"]) == 0
    assert seen == [Config(Path("a.h5"), 3)]


def test_annotation_written_as_a_string_finds_the_config(command, monkeypatch):
    seen = []
    command(seen.append)
    monkeypatch.setattr(sys.modules["posekit.apps.act"].main, "__annotations__", {"config": "Config"})
    assert command_line.main(["act", "--file", "a.h5"]) == 0
    assert seen == [Config(Path("a.h5"))]


def test_exit_code_of_the_command_is_returned(command):
    command(lambda config: 7)
    assert command_line.main(["act", "--file", "a"]) == 7


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (PosekitError("a.toml: no camera 'x'"), 2, "posekit: error: a.toml: no camera 'x'"),
        (PosekitError("two\nlines"), 2, "posekit: error: two lines"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 2, "posekit: error: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), 2, "posekit: error: /a/b: Permission denied"),
        (KeyboardInterrupt(), 130, "posekit: interrupted"),
    ],
)
def test_mistakes_end_in_one_line_and_a_code(command, capsys, error, code, line):
    command(raising(error))
    assert command_line.main(["act", "--file", "a"]) == code
    assert capsys.readouterr() == ("", line + "\n")


@pytest.mark.parametrize("error", [ValueError("bug"), OSError("a library's, without a number")])
def test_faults_keep_their_traceback(command, error):
    command(raising(error))
    with pytest.raises(type(error), match=str(error)):
        command_line.main(["act", "--file", "a"])


def test_warnings_are_clean_lines_and_each_is_said_once(command, capsys):
    def act(_: Config) -> None:
        warnings.warn("camera 'a' has no distortion", PosekitWarning, stacklevel=1)
        warnings.warn("camera 'a' has no distortion", PosekitWarning, stacklevel=1)

    command(act)
    assert command_line.main(["act", "--file", "a"]) == 0
    assert capsys.readouterr() == ("", "posekit: warning: camera 'a' has no distortion\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nonsense"], "nonsense"),
        (["act"], "--file"),
        (["act", "--file", "a", "--times", "many"], "many"),
        (["act", "--file", "a", "--fil", "b"], "--fil"),
        (["--versio"], "--versio"),
    ],
)
def test_usage_errors_exit_2_and_name_the_argument(command, capsys, arguments, expected):
    command(raising(AssertionError("must not run")))
    assert command_line.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert expected in err


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_the_commands_with_their_summaries(command, capsys, arguments):
    command(raising(AssertionError("must not run")))
    assert command_line.main(arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "act" in out
    assert "rest" in out
    assert out.count("Do one thing to a file.") == 2


def test_version(capsys):
    assert command_line.main(["--version"]) == 0
    assert capsys.readouterr().out == f"posekit {__version__}\n"
    assert importlib.metadata.version("posekit") == __version__


@pytest.mark.parametrize("name", command_line.COMMANDS)
def test_every_command_explains_itself(capsys, name):
    assert command_line.main([name, "--help"]) == 0
    assert f"posekit {name}" in capsys.readouterr().out


def test_every_command_is_listed(modules):
    with_main = {
        name
        for name, file in modules.items()
        if name.startswith("posekit.apps.")
        for statement in ast.parse(file.read_text()).body
        if isinstance(statement, ast.FunctionDef) and statement.name == "main"
    }
    assert {*command_line.COMMANDS.values(), *command_line.MODES.values()} == with_main - {"posekit.apps.main"}


def test_installed_command_answers_and_fails_with_its_codes(tmp_path):
    posekit = Path(sys.executable).with_name("posekit")
    helped = subprocess.run([posekit, "--help"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert all(name in helped.stdout for name in command_line.COMMANDS)
    unknown = subprocess.run([posekit, "nonsense"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert unknown.returncode == 2
    assert "nonsense" in unknown.stderr
    assert "Traceback" not in unknown.stderr


def test_a_terminated_command_leaves_nothing_half_written(tmp_path):
    (tmp_path / "slow.py").write_text(
        """import time
from dataclasses import dataclass
from pathlib import Path

from posekit.io.files import write_whole


@dataclass(frozen=True)
class Config:
    '''Write slowly.'''


def main(config: Config) -> None:
    with write_whole(Path("result.txt")) as temporary:
        temporary.write_text("half")
        Path("begun").touch()
        time.sleep(60)
"""
    )
    script = "import sys; from posekit.apps import main as m; m.COMMANDS['slow'] = 'slow'; sys.exit(m.main())"
    process = subprocess.Popen([sys.executable, "-c", script, "slow"], cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    assert process.wait(30) == 143
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["begun", "slow.py"]


def test_closed_pipe_is_quiet():
    program = "import sys; from posekit.apps.main import main; sys.exit(main(['--help']))"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert err == b""
    assert process.returncode == command_line.BROKEN_PIPE
