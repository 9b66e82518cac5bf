"""What grades look like: on a terminal, and as JSON, CSV, JUnit and Markdown.

Nothing that a submission says reaches any of them before it went through `tidy`.
"""

import csv
import html
import io
import json
import re
import unicodedata
from collections import Counter
from xml.etree import ElementTree

from utils.course.exercise import get, order

SUMMARY = 800_000  # bytes; a job summary on GitHub may have a mebibyte
LOOKS = re.compile(r"It looks as if (.+)\.$", re.M)
KINDS = {"FAIL": "failure", "REVIEW": "failure", "TODO": "skipped", "ERROR": "error"}  # in JUnit


def clean(text: object) -> str:
    """One harmless line.

    Control, bidi and other invisible characters become visible escapes. What a CI log takes for
    a command, `::` at the start of a line or `##[` anywhere, is pulled apart.
    """
    unseen = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    line = "".join(ascii(c)[1:-1] if unicodedata.category(c) in unseen else c for c in str(text))
    return re.sub(r"##(?=\w*\[)", "# #", re.sub(r"^\s*:(?=:)", ": ", line))


def tidy(graded: dict, label: str) -> dict:
    """A grade with every text clean, under the name that the file was handed in with."""

    def cleaned(row: dict) -> dict:
        why = "\n".join(clean(line) for line in row.get("why", "")[:2000].split("\n"))
        return row | ({"why": why} if "why" in row else {})

    rows = [cleaned(e) | {"flags": list(map(clean, e["flags"]))} for e in graded["exercises"]]
    return cleaned(graded) | {"file": clean(label), "exercises": rows}


def _reason(row: dict) -> list[str]:
    """Why an exercise did not pass, without what stands beside it anyway."""
    why = row["why"].removeprefix(f"{row['status']} {row['id']} {row['name']}: ")
    return [line.strip() for line in why.split("\n") if line.strip() and row["status"] != "PASS"]


def table(graded: dict) -> str:
    """One submission as text."""
    if "why" in graded:
        return f"{graded['file']}: not graded. {graded['why']}"
    lines = [f"{graded['file']}: {graded['score']} of {graded['max']} points"]
    for row in graded["exercises"]:
        points = f"{row['points']:>3}/{row['max']:<3}"
        lines += [f"  {row['id']:8}{row['name']:24}{points}{row['status']}"]
        lines += [f"    {line}" for line in _reason(row)]
    return "\n".join(lines)


def line(graded: dict) -> str:
    """One submission of many as a line of text."""
    left = [f"{e['status']} {e['id']}" for e in graded["exercises"] if e["status"] != "PASS"]
    return f"{table(graded).splitlines()[0]}  {', '.join(left)}".rstrip()


def mistakes(graded: list[dict]) -> list[tuple[str, str, int]]:
    """The ten commonest named mistakes of each exercise: id, mistake, number of submissions."""
    counts: dict[str, Counter] = {}
    for row in (e for g in graded for e in g["exercises"] if e["status"] == "FAIL"):
        if found := LOOKS.search(row["why"]):
            counts.setdefault(row["id"], Counter())[found[1]] += 1
    out = []
    for id in sorted(counts, key=order):
        # An answer can print this sentence too: only mistakes that the course names are counted.
        said = {m.says.encode("ascii", "backslashreplace").decode(): m for m in get(id).mistakes}
        top = [(id, said[says].says, n) for says, n in counts[id].most_common() if says in said]
        out += top[:10]
    return out


def as_json(graded: list[dict], _: list) -> str:
    return json.dumps({"submissions": graded}, indent=1) + "\n"


def as_csv(graded: list[dict], students: list[tuple[str, str]]) -> str:
    """A row a student, a column an exercise; of several files of one lesson the best counts."""
    ids = sorted({e["id"] for g in graded for e in g["exercises"]}, key=order)
    best: dict[tuple, dict[str, dict]] = {}
    notes: dict[tuple, list[str]] = {}
    for student, g in zip(students, graded, strict=True):
        mine, note = best.setdefault(student, {}), notes.setdefault(student, [])
        if "why" in g:
            note.append(f"{g['file']}: not graded. {g['why']}")
            continue
        worse, mine[g["lesson"]] = sorted([mine.get(g["lesson"], g), g], key=lambda x: x["score"])
        if worse is not mine[g["lesson"]]:
            note.append(f"{worse['file']}: not counted, {worse['score']} of {worse['max']}")
        note += [f"{e['id']}: {e['why']}" for e in g["exercises"] if e["status"] == "REVIEW"]
    writer = csv.writer(out := io.StringIO(), lineterminator="\n")
    writer.writerow(["student", "id", *ids, "score", "max", "file", "note"])
    for student, mine in best.items():
        points = {e["id"]: e["points"] for g in mine.values() for e in g["exercises"]}
        sums = [sum(g[key] for g in mine.values()) for key in ("score", "max")]
        files = ", ".join(g["file"] for g in mine.values())
        name, id, files, note = map(_cell, (*student, files, " / ".join(notes[student])))
        writer.writerow([name, id, *(points.get(i, "") for i in ids), *sums, files, note])
    return out.getvalue()


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula, whichever separator it splits at."""
    text = clean(text.replace("\n", " ")).replace(";", ",").replace("|", "/")
    return f"'{text}" if re.match(r"\s*[-=+@＝＋－＠]", text) else text


def as_junit(graded: list[dict], _: list) -> str:
    """A test suite a submission; TODO is skipped, REVIEW a failure for a person to lift."""
    suites = ElementTree.Element("testsuites")
    for g in graded:
        unread = {"id": "", "name": "not graded", "status": "ERROR", "why": g.get("why", "")}
        rows = g["exercises"] or [unread]
        n = Counter(KINDS.get(row["status"]) for row in rows)
        sums = (len(rows), n["failure"], n["error"], n["skipped"])
        counts = dict(zip(("tests", "failures", "errors", "skipped"), map(str, sums), strict=True))
        suite = ElementTree.SubElement(suites, "testsuite", name=g["file"], **counts)
        for row in rows:
            name = f"Exercise {row['id']} {row['name']}" if row["id"] else row["name"]
            case = ElementTree.SubElement(suite, "testcase", classname=g["file"], name=name)
            if kind := KINDS.get(row["status"]):
                message = row["why"].split("\n")[0]
                ElementTree.SubElement(case, kind, message=message).text = row["why"]
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def as_markdown(graded: list[dict], _: list) -> str:
    """Tables for a job summary.

    They are HTML without a blank line, in which Markdown means nothing, and every text is
    escaped inside <code>, where nothing is made into a link or a mention.
    """
    rows = []
    for g in graded:
        left = [e for e in g["exercises"] if e["status"] != "PASS"]
        whys = [f"{e['status']} {e['id']} {e['name']}: {' '.join(_reason(e))}" for e in left]
        score = "" if "why" in g else f"{g['score']} of {g['max']}"
        rows.append([g["file"], score, "\n".join(whys) or g.get("why", "all pass")])
    text = "### Grades\n\n" + _html(["file", "points", "to do"], rows)
    if common := mistakes(graded):
        head = ["exercise", "it looks as if ...", "submissions"]
        text += "\n### Commonest mistakes\n\n" + _html(head, common)
    return text


def _html(head: list[str], rows: list) -> str:
    lines, size = ["<table>", f"<tr>{''.join(f'<th>{h}</th>' for h in head)}</tr>"], 0
    for i, row in enumerate(rows):
        cells = [html.escape(str(text)).replace("\n", "<br>") for text in row]
        lines.append(f"<tr>{''.join(f'<td><code>{c}</code></td>' for c in cells)}</tr>")
        size += len(lines[-1].encode())
        if size > SUMMARY:
            lines[-1] = f"<tr><td>and {len(rows) - i} more, see the other files</td></tr>"
            break
    return "\n".join([*lines, "</table>"]) + "\n"


MAKERS = {"json": as_json, "csv": as_csv, "junit": as_junit, "summary": as_markdown}
