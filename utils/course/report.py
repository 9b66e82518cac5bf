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


def clean(text: object) -> str:
    """One harmless line.

    Control, bidi and other invisible characters become visible escapes. What a CI log takes for
    a command, `::` at the start of a line or `##[` anywhere, is pulled apart.
    """
    line = "".join(
        c if unicodedata.category(c)[0] != "C" and c not in "\u2028\u2029" else ascii(c)[1:-1]
        for c in str(text)
    )
    return re.sub(r"##(?=\w*\[)", "# #", re.sub(r"^\s*:(?=:)", ": ", line))


def tidy(graded: dict, label: str) -> dict:
    """A grade with every text clean, under the name that the file was handed in with."""

    def lines(why: str) -> str:
        return "\n".join(clean(line) for line in why[:2000].split("\n"))

    rows = [
        e | {"why": lines(e["why"]), "flags": [clean(f) for f in e["flags"]]}
        for e in graded["exercises"]
    ]
    why = {"why": lines(graded["why"])} if "why" in graded else {}
    return graded | {"file": clean(label), "exercises": rows} | why


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
    if "why" in graded:
        return table(graded).split("\n")[0]
    left = [f"{e['status']} {e['id']}" for e in graded["exercises"] if e["status"] != "PASS"]
    return f"{graded['file']}: {graded['score']} of {graded['max']}  {', '.join(left)}".rstrip()


def mistakes(graded: list[dict]) -> dict[str, list[tuple[str, int]]]:
    """Exercise -> its ten commonest named mistakes, each with the number of submissions."""
    counts: dict[str, Counter] = {}
    for row in (e for g in graded for e in g["exercises"] if e["status"] == "FAIL"):
        if found := LOOKS.search(row["why"]):
            counts.setdefault(row["id"], Counter())[found[1]] += 1
    out = {}
    for id in sorted(counts, key=order):
        # An answer can print this sentence too: only mistakes that the course names are counted.
        known = {m.says.encode("ascii", "backslashreplace").decode(): m for m in get(id).mistakes}
        top = [(known[says].says, n) for says, n in counts[id].most_common() if says in known]
        out |= {id: top[:10]} if top else {}
    return out


def as_json(graded: list[dict]) -> str:
    return json.dumps({"submissions": graded}, indent=1) + "\n"


def as_csv(graded: list[dict], students: list[tuple[str, str]]) -> str:
    """A row a student, a column an exercise; of several files of one lesson the best counts."""
    ids = sorted({e["id"] for g in graded for e in g["exercises"]}, key=order)
    best: dict[tuple, dict[str, dict]] = {}
    notes: dict[tuple, list[str]] = {}
    for student, g in zip(students, graded, strict=True):
        mine, note = best.setdefault(student, {}), notes.setdefault(student, [])
        if "why" in g:
            note.append(f"not graded: {g['why']}")
            continue
        worse, better = sorted([mine.get(g["lesson"], g), g], key=lambda x: x["score"])
        mine[g["lesson"]] = better
        if worse is not better:
            note.append(f"not counted: {worse['file']} ({worse['score']} of {worse['max']})")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["student", "id", *ids, "score", "max", "file", "note"])
    for student, mine in best.items():
        rows = {e["id"]: e for g in mine.values() for e in g["exercises"]}
        note = [f"REVIEW {id}: {rows[id]['why']}" for id in rows if rows[id]["status"] == "REVIEW"]
        sums = [sum(g[key] for g in mine.values()) for key in ("score", "max")]
        points = [rows[id]["points"] if id in rows else "" for id in ids]
        files = ", ".join(g["file"] for g in mine.values())
        texts = [_cell(t) for t in (*student, files, " / ".join(notes[student] + note))]
        writer.writerow([*texts[:2], *points, *sums, *texts[2:]])
    return out.getvalue()


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula, whichever separator it splits at."""
    text = clean(text.replace("\n", " ")).replace(";", ",").replace("|", "/")
    return f"'{text}" if re.match(r"\s*[-=+@＝＋－＠]", text) else text


def as_junit(graded: list[dict]) -> str:
    """A test suite a submission; TODO is skipped, REVIEW a failure for a person to lift."""
    suites = ElementTree.Element("testsuites")
    kinds = {"FAIL": "failure", "REVIEW": "failure", "TODO": "skipped", "ERROR": "error"}
    for g in graded:
        unread = {"id": "", "name": "not graded", "status": "ERROR", "why": g.get("why", "")}
        rows = [unread] if "why" in g else g["exercises"]
        tags = Counter(kinds.get(row["status"]) for row in rows)
        sums = {"tests": len(rows), "failures": tags["failure"]}
        sums |= {"errors": tags["error"], "skipped": tags["skipped"]}
        counts = {key: str(n) for key, n in sums.items()}
        suite = ElementTree.SubElement(suites, "testsuite", name=g["file"], **counts)
        for row in rows:
            name = f"Exercise {row['id']} {row['name']}" if row["id"] else row["name"]
            case = ElementTree.SubElement(suite, "testcase", classname=g["file"], name=name)
            if kind := kinds.get(row["status"]):
                message = row["why"].split("\n")[0]
                ElementTree.SubElement(case, kind, message=message).text = row["why"]
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def as_markdown(graded: list[dict]) -> str:
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
    common = [[id, says, n] for id, top in mistakes(graded).items() for says, n in top]
    if common:
        text += "\n### Commonest mistakes\n\n"
        text += _html(["exercise", "it looks as if ...", "submissions"], common)
    return text


def _html(head: list[str], rows: list[list]) -> str:
    lines, size = ["<table>", f"<tr>{''.join(f'<th>{h}</th>' for h in head)}</tr>"], 0
    for i, row in enumerate(rows):
        cells = [html.escape(str(text)).replace("\n", "<br>") for text in row]
        lines.append(f"<tr>{''.join(f'<td><code>{c}</code></td>' for c in cells)}</tr>")
        size += len(lines[-1].encode())
        if size > SUMMARY:
            lines[-1] = f"<tr><td>and {len(rows) - i} more, see the other files</td></tr>"
            break
    return "\n".join([*lines, "</table>"]) + "\n"
