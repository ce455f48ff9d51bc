"""emunum doctor, emunum completion, python -m emunum: where things are, and shells that know the names."""

import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from emunum.experiments import selftest
from emunum.kernels.cpu.compile import CACHE


def test_doctor_names_versions_places_and_threads(emunum, monkeypatch, tmp_path):
    monkeypatch.setenv("EMUNUM_DATA", str(tmp_path))
    facts = json.loads(emunum("doctor", "--json").out)
    assert f"numba {version('numba')}" in facts["versions"]
    assert f"numpy {version('numpy')}" in facts["versions"]
    assert facts["compiled kernels"] == str(CACHE)
    assert facts["EMUNUM_DATA"] == str(tmp_path)
    assert facts["backends"][0].startswith("cpu: ")
    assert [check["name"] for check in facts["checks"]] == list(selftest.CHECKS)


def test_doctor_ends_with_0_where_all_bits_are_right(emunum):
    result = emunum("doctor")
    assert result.code == 0
    assert result.out.splitlines()[-1] == f"All {len(selftest.CHECKS)} results have the bits they must have."


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_doctor_ends_with_1_where_a_bit_is_wrong(emunum, monkeypatch, options):
    broken = dict(selftest.CHECKS) | {"codes": (lambda: "0" * 16, selftest.CHECKS["codes"][1])}
    monkeypatch.setattr(selftest, "CHECKS", broken)
    result = emunum("doctor", *options)
    assert result.code == 1
    if options:
        assert [c["name"] for c in json.loads(result.out)["checks"] if not c["same"]] == ["codes"]
    else:
        assert "1 of 7 results have other bits than they must: codes. Remove " in " ".join(result.err.split())


def test_doctor_says_what_is_wrong_with_the_data_folder(emunum, monkeypatch, tmp_path):
    monkeypatch.setenv("EMUNUM_DATA", str(tmp_path / "none"))
    facts = json.loads(emunum("doctor", "--json").out)
    assert "is no folder" in facts["EMUNUM_DATA"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_calls_emunum(emunum, shell):
    result = emunum("completion", shell)
    assert result.code == 0
    assert f"_EMUNUM_COMPLETE={shell}_complete" in result.out


def test_completion_of_another_shell_is_refused(emunum):
    result = emunum("completion", "tcsh")
    assert (result.code, "'tcsh' is not one of" in result.err) == (2, True)


def completed(*words):
    """What bash is told to offer for the last word."""
    code = "from emunum_cli import main; main(prog_name='emunum')"
    variables = {
        "_EMUNUM_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["emunum", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True, check=True
    )
    return [line.removeprefix("plain,") for line in done.stdout.split()]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("do",), ["doctor"]),
        (("run", "--dataset", "di"), ["diabetes", "digits"]),
        (("run", "--rounding", "stochastic_"), ["stochastic_a", "stochastic_b", "stochastic_c"]),
        (("run", "--format", "float8_e5m2fn"), ["float8_e5m2fnuz"]),
        (("run", "--policy", "h"), ["hfp8"]),
        (("run", "--model", "cnn"), ["cnn"]),
    ],
)
def test_a_shell_is_offered_the_names(words, offered):
    assert completed(*words) == offered


def test_python_m_emunum_is_the_command_line():
    done = subprocess.run(
        [sys.executable, "-m", "emunum", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("emunum, version ")


def test_the_help_of_run_has_a_section_for_each_topic(emunum):
    text = emunum("run", "--help").out
    titles = [line[:-1] for line in text.splitlines() if line.endswith(":") and line == line.lstrip()]
    assert titles == [
        "Arithmetic", "Arithmetic of --policy int8", "Data", "Network", "Training", "Randomness", "This run",
        "Help",
    ]  # fmt: skip
    for option in ("--format", "--dataset", "--model", "--epochs", "--seed", "--output"):
        assert text.count(f"  {option} ") >= 1
