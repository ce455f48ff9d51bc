"""The page of a study in a real browser: it renders, sorts, follows the theme, and asks for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import NAMES, Browser, find
from studies import failed, formats_and_roundings, record

from emunum.report.sweep.page import study_files

PROGRAM = find()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason=f"no browser is installed: {', '.join(NAMES)}")

SUMMARY = "document.querySelector('table.sortable')"
HOSTILE = (
    "<script>document.title = 'taken'</script><img src=//example.org/x onerror=\"document.title='taken'\">"
)
RECORDS = [
    *formats_and_roundings(),
    record(0.123, format="e6m9", seed=0),
    record(None, status="diverged", reason="the loss became NaN", format="e2m1", seed=0),
    failed(HOSTILE, format="e3m0", seed=0),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_bytes(study_files(RECORDS, title=f"A study {HOSTILE}")["report.html"])
    return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert PROGRAM is not None
    with Browser(PROGRAM, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser, page: Path) -> Browser:
    chromium.requests.clear()
    chromium.complaints.clear()
    chromium.prefer("light")
    chromium.resize(1200, 900)
    chromium.open(page)
    return chromium


def column(browser: Browser, index: int) -> list[str]:
    return browser.run(f"[...{SUMMARY}.tBodies[0].rows].map(row => row.cells[{index}].textContent)")


def sort(browser: Browser, index: int) -> str | None:
    """Click on a header, and what it then says of its order."""
    header = f"{SUMMARY}.tHead.rows[0].cells[{index}]"
    return browser.run(f"{header}.querySelector('button').click(), {header}.getAttribute('aria-sort')")


def test_it_renders_every_part_without_a_complaint_or_a_request(browser: Browser, page: Path) -> None:
    headings = browser.run("[...document.querySelectorAll('h2')].map(heading => heading.textContent)")
    assert headings == ["Summary", "Figures", "Events", "Runs that were not completed", "Commands"]
    drawn = "[...document.querySelectorAll('svg.plot')].map(plot => plot.getBoundingClientRect().width > 700)"
    assert browser.run(drawn) == [True] * 4
    assert browser.complaints == []
    assert browser.requests == [page.as_uri()]


def test_what_records_say_is_text(browser: Browser) -> None:
    assert browser.run("document.title") == f"A study {HOSTILE}"
    assert browser.run("document.querySelector('h1').textContent") == f"A study {HOSTILE}"
    assert browser.run("document.images.length + document.querySelectorAll('script').length") == 1
    reasons = browser.run("[...document.querySelectorAll('td.text')].map(cell => cell.textContent)")
    assert reasons == [HOSTILE]


def test_a_click_sorts_numbers_and_a_second_one_turns_them_round(browser: Browser) -> None:
    # Means of the made-up records: 0.51 for float32 nearest, 0.1 more a format, 0.05 for stochastic rounding.
    means = ["0.12", "0.51", "0.56", "0.62", "0.67", "0.73", "0.78"]
    assert sort(browser, 3) == "ascending"
    assert [cell[:4] for cell in column(browser, 3)] == [*means, "-", "-"]
    assert sort(browser, 3) == "descending"
    assert [cell[:4] for cell in column(browser, 3)] == [*means[::-1], "-", "-"]


def test_a_click_sorts_words_and_takes_the_mark_from_the_other_column(browser: Browser) -> None:
    sort(browser, 3)
    assert sort(browser, 0) == "ascending"
    # Numbers within names count as numbers: 8 comes before 32.
    names = ["float8_e4m3fn", "float8_e5m2", "float32"]
    assert column(browser, 0) == ["e2m1", "e3m0", "e6m9", *(name for name in names for _ in range(2))]
    marks = f"[...{SUMMARY}.tHead.rows[0].cells].map(header => header.getAttribute('aria-sort'))"
    assert browser.run(marks) == ["ascending", *[None] * 6]


@pytest.mark.parametrize(("key", "code"), [("Enter", 13), (" ", 32)], ids=["enter", "space"])
def test_the_keyboard_sorts_too(browser: Browser, key: str, code: int) -> None:
    browser.run(f"{SUMMARY}.tHead.rows[0].cells[3].querySelector('button').focus()")
    browser.press(key, code)
    assert column(browser, 3)[0].startswith("0.12")


def test_the_page_follows_the_system_and_then_the_readers_choice(browser: Browser) -> None:
    def brightness() -> int:
        color = browser.run("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in color.strip("rgb()").split(","))

    def ink() -> int:
        color = browser.run("getComputedStyle(document.querySelector('svg.plot text')).fill")
        return sum(int(part) for part in color.strip("rgb()").split(","))

    press = "document.querySelector('.theme').click(), document.querySelector('.theme').textContent"
    assert brightness() > 600 > 200 > ink()
    browser.prefer("dark")
    assert brightness() < 200 < 600 < ink()
    assert browser.run(press) == "Theme: light"
    assert brightness() > 600 > 200 > ink()
    browser.prefer("light")
    assert browser.run(press) == "Theme: dark"
    assert brightness() < 200 < 600 < ink()
    assert browser.run(press) == "Theme: auto"
    assert brightness() > 600
    assert browser.complaints == []


def test_a_figure_is_saved_as_the_svg_it_is(browser: Browser) -> None:
    links = browser.run("[...document.querySelectorAll('a.save')].map(link => [link.download, link.href])")
    assert [name for name, _ in links] == ["results.svg", "curves.svg", "bits.svg", "events.svg"]
    parsed = "new DOMParser().parseFromString(atob(link.href.split(',')[1]), 'image/svg+xml')"
    roots = f"[...document.querySelectorAll('a.save')].map(link => {parsed}.documentElement.nodeName)"
    assert browser.run(roots) == ["svg"] * 4


@pytest.mark.parametrize("width", [320, 480, 1600])
def test_nothing_is_wider_than_the_window(browser: Browser, width: int) -> None:
    browser.resize(width, 800)
    assert browser.run("document.documentElement.scrollWidth") <= width
