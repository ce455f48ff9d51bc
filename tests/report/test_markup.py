"""What comes from records cannot say anything in HTML, LaTeX or Markdown."""

from html.parser import HTMLParser

import pytest

from emunum.report.sweep.markup import Markup, element, joined, latex, markdown

HOSTILE = "</script><script>alert('x')</script> <img src=x onerror=alert(1)> \" & $`|*_\\ #{}~^%"


def test_an_elements_text_and_attributes_are_escaped():
    seen = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            seen.append((tag, dict(attrs)))

        def handle_data(self, data):
            seen.append(data)

    reader = Reader()
    reader.feed(element("td", HOSTILE, title=HOSTILE))
    reader.close()
    assert seen[0] == ("td", {"title": HOSTILE})
    assert "".join(seen[1:]) == HOSTILE


def test_finished_html_is_put_in_as_it_stands():
    assert element("p", element("b", "1 < 2"), " & ", Markup("<br>")) == "<p><b>1 &lt; 2</b> &amp; <br></p>"
    assert joined("<", Markup("<")) == "&lt;<"


def test_attributes_are_named_as_html_names_them():
    found = element("a", class_="x", aria_label="y", data_value=0, hidden=True, id=None, title=False)
    assert found == '<a class="x" aria-label="y" data-value="0" hidden></a>'
    assert element("br") == "<br>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("float8_e4m3fn", r"float8\_e4m3fn"),
        ("50 % & more #1", r"50 \% \& more \#1"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("a~b^c", r"a\textasciitilde{}b\textasciicircum{}c"),
        ("\u22120.5 \u00d7 2", r"$-$0.5 $\times$ 2"),
        ("$x$", r"\$x\$"),
        ("two\nlines", "two lines"),
    ],
)
def test_latex_sets_a_text_as_it_stands(text, expected):
    assert latex(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", r"a\|b"),
        ("*x* _y_ `z`", r"\*x\* \_y\_ \`z\`"),
        ("[a](b)", r"\[a\](b)"),
        ("<b>&amp;", r"\<b\>\&amp;"),
        ("# no heading\n\nno paragraph", r"\# no heading no paragraph"),
    ],
)
def test_markdown_shows_a_text_as_it_stands(text, expected):
    assert markdown(text) == expected
