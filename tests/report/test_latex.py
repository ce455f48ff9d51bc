"""Markdown and tables as LaTeX: nothing is lost, and nothing is taken for a command."""

import pytest

from emunum.report.latex import blocks, escaped, inline, tabular


@pytest.mark.parametrize(
    ("text", "set_as"),
    [
        ("50 % of a_b & c # d $ {e}", r"50 \% of a\_b \& c \# d \$ \{e\}"),
        ("a \\ b ~ c", r"a \textbackslash{} b \textasciitilde{} c"),
        ("--rerun", "-{}-rerun"),
        ("[0.1, 0.2] > 3", r"[0.1, 0.2] \textgreater{} 3"),
        ("2 × 3 ≤ 6", r"2 $\times$ 3 $\leq$ 6"),
    ],
)
def test_what_latex_takes_for_a_command_is_escaped(text, set_as):
    assert escaped(text) == set_as
    assert inline(text) == set_as


@pytest.mark.parametrize(
    ("text", "set_as"),
    [
        ("`a_b --c`", r"\texttt{a\_b -{}-c}"),
        ("**nine of nine** agree", r"\textbf{nine of nine} agree"),
        ("**of `x`**", r"\textbf{of \texttt{x}}"),
        ("2^-10 and g^2, 10^-9", r"2\textsuperscript{-10} and g\textsuperscript{2}, 10\textsuperscript{-9}"),
        ("2^(X-1)", r"2\textsuperscript{X-1}"),
        ("^ alone", r"\textasciicircum{} alone"),
        ("[site](https://a.org/b%20c#d)", r"\href{https://a.org/b\%20c\#d}{site}"),
        ("[the table](tables/a.md)", "the table"),
        ("full-* and mixed-*", "full-* and mixed-*"),
        ("**over\ntwo lines**", "\\textbf{over\ntwo lines}"),
    ],
)
def test_the_markdown_of_a_line_becomes_latex(text, set_as):
    assert inline(text) == set_as


def test_blocks_are_paragraphs_code_lists_and_tables():
    text = """One
paragraph.

    code --option

    more_code

- first
- second,
  longer

| a | b |
|---|---|
| 1 | `c` |"""
    assert blocks(text).split("\n\n") == [
        "One\nparagraph.",
        "\\begin{verbatim}\ncode --option",
        "more_code\n\\end{verbatim}",
        "\\begin{itemize}\n\\item first\n\\item second,\n  longer\n\\end{itemize}",
        "\\begin{center}\n{\\small\n\\begin{tabular}{ll}\n\\toprule\na & b \\\\\n\\midrule\n"
        "1 & \\texttt{c} \\\\\n\\bottomrule\n\\end{tabular}}\n\\end{center}",
    ]


def test_a_table_has_the_rules_of_booktabs_and_numbers_flush_right():
    assert tabular(["name", "50 %", "n"], [["a_b", "1", "2"]], left=1) == (
        "\\begin{tabular}{lrr}\n\\toprule\nname & 50 \\% & n \\\\\n\\midrule\na\\_b & 1 & 2 \\\\\n"
        "\\bottomrule\n\\end{tabular}"
    )


def test_a_wide_table_is_scaled_to_the_page():
    narrow, wide = tabular(["a"], [["x" * 70]]), tabular(["a", "b"], [["x" * 70, "y" * 20]])
    assert narrow.startswith("\\begin{tabular}")
    assert wide.startswith("\\resizebox{\\textwidth}{!}{%\n\\begin{tabular}")
    assert wide.endswith("\\end{tabular}}")
