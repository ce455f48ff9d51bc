"""The files of a report on many runs: well formed, complete, escaped, free of addresses, reproducible."""

import base64
import csv
import hashlib
import html
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from studies import failed, formats_and_roundings, record

from emunum.report.sweep.page import study_files

HOSTILE = "</td><script>alert('x')</script>|*_ \\ $ & % #"
TITLE = f"Eight bits {HOSTILE}"
RECORDS = [
    *formats_and_roundings(),
    record(None, status="diverged", reason="the loss became NaN", format="e2m1", seed=1),
    failed(HOSTILE, format="e3m0", seed=0),
]
VOID = {"meta", "link", "br", "col", "img", "input"}


class Reader(HTMLParser):
    """Checks that elements nest, and collects them."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data))

    def attributes(self, name):
        return [attrs[name] for _, attrs in self.elements if name in attrs]


@pytest.fixture(scope="module")
def files():
    return study_files(RECORDS, title=TITLE)


@pytest.fixture(scope="module")
def page(files):
    return Reader(files["report.html"].decode())


def test_a_report_has_a_page_tables_and_figures(files):
    figures = [
        f"{name}.{kind}" for name in ("results", "curves", "bits", "events") for kind in ("png", "svg", "pdf")
    ]
    assert list(files) == ["report.html", "summary.md", "summary.tex", "summary.csv", *figures]


def test_the_same_records_give_the_same_bytes_in_another_process(files):
    # Hash seeds, dates and identifiers differ between processes; the files must not.
    code = (
        "import hashlib, json, sys; from emunum.report.sweep.page import study_files; "
        "files = study_files(json.load(sys.stdin), title=sys.argv[1]); "
        "print({name: hashlib.sha256(content).hexdigest() for name, content in files.items()})"
    )
    command = [sys.executable, "-c", code, TITLE]
    found = subprocess.run(command, input=json.dumps(RECORDS), capture_output=True, text=True)
    ours = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert found.stdout.strip() == str(ours), found.stderr


def test_the_page_refers_to_nothing_outside_itself(files, page):
    text = files["report.html"].decode()
    assert not re.search(r"https?:|//[a-z]", text)
    assert "@import" not in text and "@font-face" not in text
    addresses = page.attributes("href") + page.attributes("src") + page.attributes("xlink:href")
    assert addresses
    assert [address for address in addresses if not address.startswith(("#", "data:"))] == []
    assert re.findall(r"url\((?!#)", text) == []


def test_only_the_pages_own_script_may_run(files, page):
    text = files["report.html"].decode()
    [script] = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [policy] = [
        attrs["content"] for _, attrs in page.elements if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )
    assert [name for _, attrs in page.elements for name in attrs if name.startswith("on")] == []


def test_identifiers_are_unique_and_references_find_them(page):
    names = page.attributes("id")
    assert len(names) == len(set(names)) > 10
    assert {address[1:] for address in page.attributes("href") if address.startswith("#")} <= set(names)


def test_what_records_and_users_say_is_text(page):
    assert ("h1", TITLE) in page.texts
    assert ("title", TITLE) in page.texts
    assert ("td", HOSTILE) in page.texts
    assert [tag for tag, _ in page.elements].count("script") == 1


def test_the_page_says_what_was_varied_and_what_was_not(page):
    shown = [text for tag, text in page.texts if tag in ("dt", "dd")]
    facts = dict(zip(shown[::2], shown[1::2], strict=True))
    assert facts["format"] == "float32, float8_e4m3fn, float8_e5m2, e2m1, e3m0"
    assert facts["rounding"] == "nearest, stochastic"
    assert facts["seeds"] == "0 to 2"
    assert facts["the same in all"] == "dataset diabetes, policy full, model linear, epochs 30"
    assert facts["batch size"] == "32"
    assert ("p", "8 configurations, 20 runs, 2 of them not completed") in page.texts


def test_a_row_of_the_table_has_values_to_sort_by(files):
    rows = re.findall(r"<tr>(.*?)</tr>", files["report.html"].decode())
    [row] = [row for row in rows if "float8_e5m2" in row and ">nearest<" in row and "[" in row]
    cells = re.findall(r"<td([^>]*)>(.*?)</td>", row)
    assert [text for _, text in cells[:3]] == ["float8_e5m2", "nearest", "3"]
    values = [re.search(r'data-value="([^"]*)"', attributes) for attributes, _ in cells]
    assert [html.unescape(value[1]) for value in values if value][:3] == ["float8_e5m2", "nearest_even", "3"]
    # seeds 0, 1, 2: 0.7, 0.73, 0.76
    assert float(values[3][1]) == pytest.approx(0.73)


def test_each_row_has_its_command(page):
    commands = [text for tag, text in page.texts if tag == "code"]
    assert len(commands) == 8
    assert commands[3] == (
        "emunum run --dataset diabetes --format float8_e4m3fn --rounding stochastic --seed 0"
    )


def test_the_csv_has_every_row_in_full_precision(files):
    rows = list(csv.DictReader(files["summary.csv"].decode().splitlines()))
    assert [row["runs"] for row in rows] == ["3"] * 6 + ["1"] * 2
    assert float(rows[4]["test_mse"]) == pytest.approx(0.73, abs=1e-12)
    assert (rows[6]["diverged"], rows[7]["failed"], rows[7]["test_mse"]) == ("1", "1", "")


def test_markdown_has_table_figures_failures_and_commands(files):
    text = files["summary.md"].decode()
    assert "<script>" not in re.sub(r"\\<", "", text)
    assert text.count("![") == 4
    [line] = [line for line in text.splitlines() if "failed |" in line]
    assert r"\<script\>" in line
    assert len(re.findall(r"(?<!\\)\|", line)) == 5
    assert "    emunum run --dataset diabetes --format e3m0 --seed 0\n" in text


def test_latex_has_the_table_and_says_what_it_needs(files):
    text = files["summary.tex"].decode()
    assert r"\usepackage{booktabs}" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    assert re.search(r"(?<!\\)[_#]", re.sub("^%.*$", "", text, flags=re.MULTILINE)) is None


@pytest.fixture
def undrawn(monkeypatch):
    """One figure, drawn by nobody, in the place of those that take seconds."""
    svg = b'<svg viewBox="0 0 20 10"><path id="a" d="M0 0"/></svg>'
    figures = {"results": {"png": b"", "svg": svg, "pdf": b""}}
    monkeypatch.setattr("emunum.report.sweep.page.figures_of", lambda study: figures)


def test_each_data_set_has_its_own_section_and_files(undrawn):
    runs = [record(0.5), record(0.9, metric="test_accuracy", dataset="digits")]
    files = study_files(runs)
    assert {"diabetes-results.svg", "digits-results.pdf", "digits-summary.csv"} <= set(files)
    page = Reader(files["report.html"].decode())
    assert [text for tag, text in page.texts if tag == "h2"] == ["diabetes", "digits"]
    assert not any("difference" in text for _, text in page.texts)  # there is nothing to compare with
    names = page.attributes("id")
    assert len(names) == len(set(names))


def test_another_metric_and_baseline_can_be_chosen(undrawn):
    runs = [
        record(0.1 * n + 0.01 * seed, metric="train_mse", rounding=rounding, seed=seed)
        for n, rounding in enumerate(("nearest", "stochastic"))
        for seed in range(2)
    ]
    files = study_files(
        runs, metric="train_mse", is_baseline=lambda options: options["rounding"] == "stochastic"
    )
    rows = list(csv.DictReader(files["summary.csv"].decode().splitlines()))
    assert float(rows[0]["train_mse_difference"]) == pytest.approx(-0.1)
    assert rows[1]["train_mse_difference"] == ""
    assert "training MSE & 95 \\% interval & difference to baseline" in files["summary.tex"].decode()


def test_parts_of_records_are_reported_without_commands(undrawn):
    kept = ("dataset", "format", "rounding", "policy", "rounding_seed", "status", "test_mse")
    runs = [{key: entry[key] for key in kept} for entry in (record(0.5), record(0.6, format="e4m3"))]
    text = study_files(runs)["report.html"].decode()
    assert "<h2>Commands</h2>" not in text
    assert "float8_e4m3fn" in text


def test_without_a_completed_run_there_is_no_report():
    with pytest.raises(ValueError, match="no run was completed"):
        study_files([failed("no")])
