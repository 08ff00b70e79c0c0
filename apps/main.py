"""The command ``posekit``: one subcommand per module of posekit.apps."""

import importlib
import inspect
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TextIO, Union

import tyro

from posekit import __version__
from posekit.errors import PosekitError, PosekitWarning

# A command's module defines main(config) over a frozen dataclass, which tyro fills from the arguments; the first line of
# that dataclass's docstring is what `posekit --help` says. Only the module of the command that is asked for is imported,
# and --help imports all of them: they import torch, cv2 and the like inside main.
COMMANDS: dict[str, str] = {
    "demo": "posekit.apps.demo",
    "detect": "posekit.apps.detect",
    "bootstrap": "posekit.apps.bootstrap",
    "triangulate": "posekit.apps.triangulate",
    "lift": "posekit.apps.lift",
    "train": "posekit.apps.train",
    "train-lifter": "posekit.apps.train_lifter",
    "filter": "posekit.apps.filter",
    "angles": "posekit.apps.angles",
    "view": "posekit.apps.view",
    "export": "posekit.apps.export",
    "calibrate": "posekit.apps.calibrate",
    "convert": "posekit.apps.convert",
    "evaluate": "posekit.apps.evaluate",
    "bench": "posekit.apps.bench",
}

# What a command does instead of its own work where its arguments hold this option; such a mode has options of its own.
MODES: dict[tuple[str, str], str] = {("bootstrap", "--plan"): "posekit.apps.bootstrap_plan"}

# As a shell reports programs that these signals ended: 128 and the signal's number.
INTERRUPTED = 130
BROKEN_PIPE = 141
TERMINATED = 143
MISTAKE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``posekit`` with these arguments (default: the process's own) and return its exit code.

    0: done. 2: a person's mistake, told in one line on stderr. 130: interrupted. 141: nobody read what was printed. 143: ended
    by SIGTERM, as by a cluster's scheduler: what was half written is removed first.
    Anything else that goes wrong is a fault of posekit's own and leaves as an exception.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Read when torch's threads start. By default they wait for each other by spinning: with something else on one of two
    # cores, training took 14 s instead of 5; alone it costs nothing that could be measured.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if argv is None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", PosekitWarning)
            warnings.showwarning = _warning_printer(warnings.showwarning)
            code = _run(arguments)
            sys.stdout.flush()
            return code
    except PosekitError as error:
        return _report_mistake(str(error))
    except KeyboardInterrupt:
        print("posekit: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # What is still buffered has nowhere to go; without this, Python says so when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        # The system's own refusals (no space, no permission, no such file) have a number. Libraries also raise bare
        # OSErrors about what they read; those should have become a PosekitError, so they keep their traceback.
        if error.errno is None or error.strerror is None:
            raise
        place = "" if error.filename is None else f"{error.filename}: "
        return _report_mistake(f"{place}{error.strerror}")


def _run(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        print(f"posekit {__version__}")
        return 0
    try:
        if arguments and arguments[0] in COMMANDS:
            name, *rest = arguments
            module, mode = COMMANDS[name], ""
            for (command_name, option), mode_module in MODES.items():
                if name == command_name and option in rest:
                    module, mode = mode_module, f" {option}"
                    rest.remove(option)
            command, config_type = _load_command(module)
            config = tyro.cli(config_type, prog=f"posekit {name}{mode}", args=rest)
            return command(config) or 0
        # Help, no command or an unknown one: tyro has the answer to each, and never returns from it.
        tyro.cli(
            _all_commands(),
            prog="posekit",
            description="3D poses of people and hands from several cameras. `posekit COMMAND --help` says more of each.",
            args=arguments or ["--help"],
        )
    except SystemExit as end:  # tyro's usage errors (2) and its help (0), and SIGTERM (143)
        if isinstance(end.code, str):
            raise
        return end.code or 0
    raise AssertionError(f"no command ran for {arguments}")


def _load_command(module_name: str) -> tuple[Callable[[Any], int | None], Any]:
    """Return a command's main and the type of its config, which is what main's one parameter is annotated with."""
    module = importlib.import_module(module_name)
    (annotation,) = (parameter.annotation for parameter in inspect.signature(module.main).parameters.values())
    return module.main, getattr(module, annotation) if isinstance(annotation, str) else annotation


def _all_commands() -> Any:
    members = tuple(
        Annotated[_load_command(module)[1], tyro.conf.subcommand(name=name, prefix_name=False)]
        for name, module in COMMANDS.items()
    )
    return Union[members]  # noqa: UP007  # the members are known only when this runs


def _report_mistake(message: str) -> int:
    print(f"posekit: error: {' '.join(message.splitlines())}", file=sys.stderr)
    return MISTAKE


def _warning_printer(show_other: Callable[..., None]) -> Callable[..., None]:
    """Return what prints posekit's warnings as a line each, and once: steps that look at one thing say the same of it."""
    said: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, PosekitWarning):
            told = " ".join(str(message).splitlines())
            if told not in said:
                said.add(told)
                print(f"posekit: warning: {told}", file=file or sys.stderr)
        else:
            show_other(message, category, filename, lineno, file, line)

    return show


if __name__ == "__main__":
    sys.exit(main())
