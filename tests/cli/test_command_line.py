"""What holds for every command: help, exit codes, one line of complaint, quick starts."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from emunum_cli import COMMANDS, main

import emunum as package

HEAVY = ("numba", "llvmlite", "sklearn", "scipy", "matplotlib")


def every_command(group=main, path=()):
    """(words, command) of every command and group, the main one included."""
    yield path, group
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            yield from every_command(group.get_command(context, name), (*path, name))


EVERY_COMMAND = {" ".join(path) or "emunum": path for path, _ in every_command()}


@pytest.mark.parametrize("name", EVERY_COMMAND)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_says_what_a_command_does_and_gives_an_example(emunum, name, option):
    result = emunum(*EVERY_COMMAND[name], option)
    assert result.code == 0
    assert result.err == ""
    assert result.out.startswith(f"Usage: {' '.join(['emunum', *EVERY_COMMAND[name]])} ")
    assert "Example" in result.out


def test_the_main_help_lists_every_command_and_the_exit_codes(emunum):
    shown = emunum("--help").out
    for name, purpose in COMMANDS.items():
        assert name in shown
        assert purpose in shown
    assert "0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C" in shown


def test_no_option_of_the_help_states_two_defaults(emunum):
    for path in EVERY_COMMAND.values():
        assert "] [default:" not in " ".join(emunum(*path, "--help").out.split())


def test_without_a_command_the_help_is_printed_as_it_is(emunum):
    result = emunum()
    assert result.code in (0, 2)  # click 8.1 and later ones differ
    assert (result.out + result.err).startswith("Usage: emunum ")


def test_the_version_is_the_packages(emunum):
    assert emunum("--version").out == f"emunum, version {package.__version__}\n"
    assert package.__version__ == importlib.metadata.version("emunum")


@pytest.mark.parametrize(
    "arguments",
    [
        ["runn"],
        ["run", "--nothing"],
        ["run", "--epoch", "3"],
        ["run", "extra"],
        ["formats", "--csv"],
        ["reproduce", "everything"],
    ],
    ids=" ".join,
)
def test_a_word_that_does_not_exist_is_named_in_one_line(emunum, arguments):
    result = emunum(*arguments)
    assert (result.code, result.out) == (2, "")
    [wrong] = [word for word in arguments if word not in ("run", "formats", "reproduce", "3")]
    assert re.fullmatch(rf"emunum: (No such|Got unexpected extra|unknown study) .*{wrong}\b.*\n", result.err)


def test_python_m_runs_the_same_commands(process):
    result = process("--version")
    assert (result.code, result.err) == (0, "")
    assert result.out == f"emunum, version {package.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [[], ["--help"], ["--version"], ["formats"], ["formats", "e4m3"], ["reproduce", "regression", "--help"]],
    ids=" ".join,
)
def test_what_trains_nothing_loads_nothing_heavy(arguments):
    code = (
        "import sys, json\n"
        "try:\n"
        "    from emunum_cli import main\n"
        "    main(sys.argv[1:])\n"
        "except SystemExit:\n"
        "    pass\n"
        f"print('loaded', json.dumps([name for name in {HEAVY} if name in sys.modules]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.rpartition("loaded ")[2]) == []


def test_importing_emunum_loads_nothing_heavy():
    code = f"import emunum, sys; sys.exit(any(name in sys.modules for name in {HEAVY}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("arguments", [["formats"], ["formats", "--json"]], ids=" ".join)
def test_a_reader_that_leaves_early_causes_no_traceback(arguments):
    command = [sys.executable, "-m", "emunum_cli", *arguments]
    reader, writer = os.pipe()
    os.close(reader)  # before there is anything to read: what is written meets nobody
    try:
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert done.returncode == 1
    assert done.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize("arguments", [["formats"], ["formats", "--json"], ["--help"]], ids=" ".join)
def test_a_full_standard_output_is_one_line_of_complaint(process, arguments):
    with Path("/dev/full").open("w") as full:
        result = process(*arguments, stdout=full)
    assert result.code == 1
    assert result.err == "emunum: No space left on device\n"
