"""What the documents show is what happens: examples print what they say and commands succeed."""

import doctest
import re
import shlex
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from emunum.formats import NAMED

ROOT = Path(__file__).parent.parent
README = "README.md"
_PAPER = [name for name in ("paper/README.md", "paper/numerics.md") if (ROOT / name).exists()]
DOCUMENTS = [README, "CONTRIBUTING.md", *_PAPER]

_FENCE = re.compile(
    r"(?:^<!-- (?P<mark>\w+) -->\n\s*)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A fenced block, and the word of the HTML comment just before it: run, test, slow or nothing."""

    mark: str | None
    language: str
    text: str
    line: int  # of its first line, from 1

    @property
    def commands(self) -> list[str]:
        """Its command lines, continued lines joined, comments and blank lines left out."""
        lines = (line.strip() for line in self.text.replace("\\\n", " ").splitlines())
        return [line for line in lines if line and not line.startswith("#")]


def blocks_of(text: str) -> list[Block]:
    return [
        Block(m["mark"], m["language"], m["text"], text.count("\n", 0, m.start("text")) + 1)
        for m in _FENCE.finditer(text)
    ]


def read(name: str) -> str:
    path = ROOT / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def examples_of(text: str, name: str) -> doctest.DocTest:
    """All python blocks as one session, at their own line numbers."""
    lines = [""] * (text.count("\n") + 1)
    for block in blocks_of(text):
        if block.language == "python" and block.mark != "slow":
            for n, line in enumerate(block.text.splitlines(), start=block.line - 1):
                lines[n] = line
    return doctest.DocTestParser().get_doctest("\n".join(lines), {}, name, str(ROOT / name), 0)


def shown_commands(text: str) -> list[str]:
    """The `emunum ...` lines of bash blocks without a mark: those a reader may try in any order."""
    return [
        command
        for block in blocks_of(text)
        if block.language == "bash" and block.mark is None
        for command in block.commands
        if command.startswith("emunum ")
    ]


def marked(mark: str) -> list[str]:
    return [command for block in blocks_of(read(README)) if block.mark == mark for command in block.commands]


def test_readme_shows_python_and_commands():
    text = read(README)
    assert text, "README.md is missing or empty"
    assert examples_of(text, README).examples, "README.md has no python block with a >>> example"
    assert shown_commands(text), "README.md has no unmarked bash block with an 'emunum ...' line"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_python_examples_print_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report: list[str] = []
    results = doctest.DocTestRunner(verbose=False).run(examples_of(read(name), name), out=report.append)
    assert results.failed == 0, "".join(report)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        pytest.param(name, line, id=f"{name}: {line}")
        for name in DOCUMENTS
        for line in shown_commands(read(name))
    ],
)
def test_command_lines_succeed(name, line, tmp_path, monkeypatch):
    from emunum_cli import main

    assert isinstance(main, click.Command)
    _, *arguments = shlex.split(line, comments=True)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments, prog_name="emunum")
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"


def test_the_table_of_formats_is_true():
    rows = [line.strip("| ").split(" | ") for line in read("paper/numerics.md").splitlines()]
    shown = {row[0]: row[1:] for row in rows if row[0] in NAMED}
    assert shown.keys() == NAMED.keys()
    for name, (special, p, bias, largest, least_normal, least, infinity, nan) in shown.items():
        f = NAMED[name]
        assert (special, int(p), int(bias)) == (f.special, f.precision, f.bias)
        values = [eval(cell.replace("^", "**")) for cell in (largest, least_normal, least)]
        assert values == [f.max, f.smallest_normal, f.smallest]
        codes = [None if cell == "-" else int(cell, 16) for cell in (infinity, nan)]
        assert codes == [f.infinity_code, f.nan_code]


@pytest.mark.parametrize("mark", ["run", "test"])
def test_readme_marks_one_line_to_run_and_one_to_test(mark):
    [line] = marked(mark)
    assert line.startswith("python3 -m venv .venv")


def test_the_line_to_run_ends_in_a_command_tested_here():
    [line] = marked("run")
    assert line.split(".venv/bin/")[-1] in shown_commands(read(README))


def test_ci_runs_the_marked_test_line(tmp_path):
    """.ci/run finds the same line as these tests do, in a README that also says other things."""
    ci = tmp_path / ".ci"
    ci.mkdir()
    (ci / "run").write_text((ROOT / ".ci/run").read_text(encoding="utf-8"), encoding="utf-8")
    summary = "===== 3 passed in 0.01s ====="
    (tmp_path / README).write_text(
        "```bash\necho not this\n```\n<!-- run -->\n```bash\necho nor this\n```\n"
        f"<!-- test -->\n```bash\necho '{summary}' && echo tox was here\n```\n```bash\necho nor that\n```\n"
    )
    result = subprocess.run(["bash", ci / "run"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[1:] == [summary, "tox was here", summary]


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ("echo '=== 3 passed in 0.01s ===' && false", ""),
        ("false && echo '=== 3 passed in 0.01s ==='", "pytest printed no summary"),
        ("true", "pytest printed no summary"),
        ("false\necho '=== 3 passed in 0.01s ==='", "exactly one command line"),
        ("", "exactly one command line"),
    ],
)
def test_ci_fails_when_the_line_fails(block, complaint, tmp_path):
    ci = tmp_path / ".ci"
    ci.mkdir()
    (ci / "run").write_text((ROOT / ".ci/run").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / README).write_text(f"<!-- test -->\n```bash\n{block}\n```\n")
    result = subprocess.run(["bash", ci / "run"], capture_output=True, text=True)
    assert result.returncode != 0
    assert complaint in result.stderr


def test_ci_is_executable():
    assert (ROOT / ".ci/run").stat().st_mode & stat.S_IXUSR
