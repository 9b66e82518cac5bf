import csv
import io
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from utils.course import report
from utils.course.exercise import Mistake

HOSTILE = {
    "command": "::error file=a::owned",
    "indented command": " \u3000::set-output name=a::b",
    "old command": "x ##[add-matcher]/tmp/x",
    "azure": "##vso[task.complete]",
    "colour": "\x1b[31mred\x1b[0m\x9b1m",
    "carriage return": "FAIL\rPASS 0.1.1",
    "bidi": "a\u202egnp.exe\u2066\u200f\ufeff\u00ad",
    "lines": "a\u2028::error::b\u0085c\x0bd\x0c",
    "markup": "<script>alert(1)</script><img src=x onerror=y> &lt;b&gt; </code></td></table>",
    "markdown": "[a](javascript:b) ![c](d) **e** `f` ``` | g | # h\n\n- i\n\n<b>",
    "links": "https://evil.example www.evil.example a@evil.example @someone #1",
    "xml": "]]><failure/> <!-- &amp; \ufffe\x00",
    "lone surrogate": "\udcff\ud800",
    "formula": "=cmd|' /C calc'!A0",
    "other formulas": "+1;-1|@SUM(A1)",
    "tab formula": "\t=1",
    "wide formula": "＝1+1",
    "quotes": '"\'","=1\n=2',
}


def graded(text, status="FAIL", file=None):
    row = {"id": "0.1.1", "name": "f", "status": status, "points": 0, "max": 1}
    row |= {"why": text, "flags": [text]}
    one = {"file": "a", "lesson": "0.1", "score": 0, "max": 1, "exercises": [row]}
    return report.tidy(one, text if file is None else file)


def unread(text):
    blank = {"file": "", "lesson": "", "score": 0, "max": 0, "exercises": []}
    return report.tidy(blank | {"why": text}, text)


def both(text):
    return [graded(text), unread(text), graded(text, "REVIEW"), graded(f"good\n{text}", file="b")]


@pytest.fixture(params=HOSTILE.values(), ids=HOSTILE)
def hostile(request):
    return both(request.param)


def commands(text):
    """Lines that a CI runner would obey."""
    return [
        x for x in re.split(r"[\n\r\x0b\x0c\x85\u2028\u2029]", text) if x.lstrip()[:2] == "::"
    ] + (re.findall(r"##\w*\[", text))


def invisible(text):
    return [c for c in text if c != "\n" and not c.isprintable() and not c.isspace()] + re.findall(
        "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", text
    )


def test_terminal(hostile):
    for row in hostile:
        for text in (report.table(row), report.line(row)):
            assert not commands(text)
            assert not invisible(text)
            text.encode()
        assert "\n" not in report.line(row)


def test_json(hostile):
    text = report.as_json(hostile, [])
    assert text.isascii()
    rows = json.loads(text)["submissions"]
    assert [row["score"] for row in rows] == [0] * 4
    for row in rows:
        assert not invisible(row["file"] + row.get("why", ""))


def test_junit(hostile):
    text = report.as_junit(hostile, [])
    assert not invisible(text)
    root = ElementTree.fromstring(text.encode())
    tags = {"testsuites", "testsuite", "testcase", "failure", "error"}
    assert {e.tag for e in root.iter()} == tags
    assert len(list(root.iter("testcase"))) == 4
    assert root[1][0][0].text == hostile[1]["why"]


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.cells = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes += attributes
        self.cells += [""] if tag == "td" else []

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


def test_markdown(hostile):
    text = report.as_markdown(hostile, [])
    assert not invisible(text)
    assert not commands(text)
    page = Page(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))
    assert page.tags <= {"h3", "table", "tr", "th", "td", "code", "br"}
    assert not page.attributes
    assert page.cells[0] == hostile[0]["file"]  # as it is, and in one cell
    assert len(page.cells) == 12


def test_csv(hostile):
    text = report.as_csv(hostile, [(row["file"], row["file"]) for row in hostile])
    assert not invisible(text.replace("\n", ""))
    rows = list(csv.reader(io.StringIO(text)))
    assert {len(row) for row in rows} == {7}
    for separator in ",;|\t":  # Excel splits at the separator of the country
        for row in csv.reader(io.StringIO(text), delimiter=separator):
            assert not [cell for cell in row if re.match(r"\s*[-=+@＝]", cell)]


def test_clean_leaves_what_is_harmless():
    for text in ("λ-return x[::2] a::b Müller 数学 #1 [## ok", "- = + @"):
        assert report.clean(text) == text


# What the formats say when nobody is hostile


def row(id, status, points, top, why=""):
    line = {"id": id, "name": "f", "status": status, "points": points, "max": top}
    return line | {"why": why, "flags": []}


def submission(file, lesson, *rows):
    score, top = sum(r["points"] for r in rows), sum(r["max"] for r in rows)
    return {"file": file, "lesson": lesson, "score": score, "max": top, "exercises": list(rows)}


def test_table_shows_each_exercise_and_why():
    why = "FAIL 1.1.2 f: y: differs at [0]\n     yours   1\n     target  2"
    text = report.table(
        submission("a", "1.1", row("1.1.1", "PASS", 1, 1), row("1.1.2", "FAIL", 0, 2, why))
    )
    lines = text.splitlines()
    assert lines[0] == "a: 1 of 3 points"
    assert lines[1].split() == ["1.1.1", "f", "1/1", "PASS"]
    assert lines[3:] == ["    y: differs at [0]", "    yours   1", "    target  2"]


def test_csv_has_a_row_a_student_and_the_best_file_counts():
    files = [
        submission("a1", "1.1", row("1.1.1", "PASS", 2, 2), row("1.1.10", "TODO", 0, 1)),
        submission("a2", "1.1", row("1.1.1", "TODO", 0, 2), row("1.1.10", "PASS", 1, 1)),
        submission("a3", "1.2", row("1.2.1", "REVIEW", 0, 1, "uses os")),
        unread("b.ipynb"),
        submission("c", "1.1", row("1.1.1", "PASS", 2, 2), row("1.1.10", "PASS", 1, 1)),
    ]
    text = report.as_csv(files, [("A", "1"), ("A", "1"), ("A", "1"), ("B", ""), ("A", "2")])
    head, a, b, c = csv.reader(io.StringIO(text))
    ids = ["1.1.1", "1.1.10", "1.2.1"]
    assert head == ["student", "id", *ids, "score", "max", "file", "note"]
    note = "a2: not counted, 1 of 3 / 1.2.1: uses os"
    assert a == ["A", "1", "2", "0", "0", "2", "4", "a1, a3", note]
    assert b == ["B", "", "", "", "", "0", "0", "", "b.ipynb: not graded. b.ipynb"]
    assert c == ["A", "2", "2", "1", "", "3", "3", "c", ""]


def test_junit_counts_what_is_not_earned():
    rows = [row("1.1.1", "PASS", 1, 1), row("1.1.2", "FAIL", 0, 1, "a\nb")]
    rows += [row("1.1.3", "TODO", 0, 1), row("1.1.4", "REVIEW", 0, 1)]
    suite = ElementTree.fromstring(report.as_junit([submission("a", "1.1", *rows)], []))[0]
    sums = {"tests": "4", "failures": "2", "errors": "0", "skipped": "1"}
    assert suite.attrib == {"name": "a"} | sums
    failure = suite[1][0]
    assert (failure.get("message"), failure.text) == ("a", "a\nb")
    assert suite[1].get("name") == "Exercise 1.1.2 f"


def test_ten_commonest_mistakes_of_the_course_only(monkeypatch):
    known = [Mistake(f"λ is {i}", "a", "b") for i in range(12)]
    monkeypatch.setattr(report, "get", lambda id: SimpleNamespace(mistakes=known))

    def why(i):
        return f"FAIL 1.1.2 f: y: differs\n     It looks as if \\u03bb is {i}.\n     Later cells"

    rows = [row("1.1.2", "FAIL", 0, 1, why(i)) for i in range(12) for _ in range(i + 1)]
    rows += [row("1.1.2", "FAIL", 0, 1, "It looks as if <b>I forged this</b>.")] * 50
    rows += [row("1.1.2", "TODO", 0, 1, why(0))] * 50
    found = report.mistakes([submission("a", "1.1", r) for r in rows])
    assert found == [("1.1.2", f"λ is {i}", i + 1) for i in range(11, 1, -1)]
    text = report.as_markdown([submission("a", "1.1", rows[-51], rows[0])], [])
    assert "<td><code>λ is 0</code></td><td><code>1</code></td>" in text


def test_a_large_summary_is_cut_where_github_would_refuse_it():
    many = [graded("x" * 1900) for _ in range(1000)]
    text = report.as_markdown(many, [])
    assert len(text.encode()) < 2**20
    assert re.search(r"<tr><td>and \d+ more, see the other files</td></tr>\n</table>", text)
