"""Tables as plain text for the terminal, and as HTML for notebooks."""

import math
from collections.abc import Sequence
from html import escape


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = ()) -> str:
    """Columns aligned by spaces, a rule under the head.

    Parameters
    ----------
    head : sequence of str
        Column titles.
    rows : sequence of sequences of str
        One cell a column; rows may be none, then only the head is shown.
    left : sequence of int
        Columns aligned to the left; the others, numbers, to the right.

    Returns
    -------
    str
        Without a newline at its end.

    Examples
    --------
    >>> print(text_table(["rank", "model"], [["1", "a"], ["10", "bc"]], left=[1]))
    rank  model
    ----  -----
       1  a
      10  bc
    """
    cells = [list(head), *map(list, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    cells.insert(1, ["-" * width for width in widths])
    lines = (
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = ()) -> str:
    """The same as a ``<table>``; whatever stands in a cell is shown, and never run.

    Parameters
    ----------
    head, rows, left
        As of `text_table`.

    Returns
    -------
    str

    Examples
    --------
    >>> print(html_table(["model"], [["<b>"]], left=[0]))
    <table>
    <thead><tr><th style="text-align:left">model</th></tr></thead>
    <tbody>
    <tr><td style="text-align:left">&lt;b&gt;</td></tr>
    </tbody>
    </table>
    """

    def line(kind: str, cells: Sequence[str]) -> str:
        aligned = ("left" if column in left else "right" for column in range(len(cells)))
        return "".join(
            f'<{kind} style="text-align:{side}">{escape(cell)}</{kind}>'
            for side, cell in zip(aligned, cells, strict=True)
        )

    body = [f"<tr>{line('td', row)}</tr>" for row in rows]
    return "\n".join(
        [
            "<table>",
            f"<thead><tr>{line('th', head)}</tr></thead>",
            *["<tbody>", *body, "</tbody>", "</table>"],
        ]
    )


def html_list(title: str, lines: Sequence[str]) -> str:
    r"""A title and a ``<ul>``, escaped; empty if there are no lines.

    Examples
    --------
    >>> html_list("failed", ["a & b"]), html_list("failed", [])
    ('<p>failed</p>\n<ul><li>a &amp; b</li></ul>', '')
    """
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<p>{escape(title)}</p>\n<ul>{items}</ul>" if lines else ""


def number(value: float, digits: int = 3) -> str:
    """A number for a table cell; undefined (NaN) is a dash.

    Examples
    --------
    >>> number(0.12345), number(float("nan"))
    ('0.123', '-')
    """
    # Adding 0.0 turns a rounded -0.0 into 0.0.
    return "-" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def score_text(value: float, digits: int = 3) -> str:
    """A score for a table cell: as `number`, but one that would be rounded to 0 is told as it is.

    Some estimators give scores of which all that differs lies behind many zeros.

    Examples
    --------
    >>> score_text(0.12345), score_text(-1.8e-9), score_text(0.0)
    ('0.123', '-1.8e-09', '0.000')
    """
    if value and abs(value) < 0.5 * 10**-digits:
        return f"{value:.1e}"
    return number(value, digits)


def span(bounds: tuple[float, float], digits: int = 3) -> str:
    """An interval for a table cell; an undefined one is a dash.

    Examples
    --------
    >>> span((0.1, 0.25)), span((-2e-9, 0.0)), span((float("nan"), float("nan")))
    ('0.100 .. 0.250', '-2.0e-09 .. 0.000', '-')
    """
    low, high = bounds
    if math.isnan(low) or math.isnan(high):
        return "-"
    return f"{score_text(low, digits)} .. {score_text(high, digits)}"
