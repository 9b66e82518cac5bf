"""The parts of the README that are made from measurements, and where those are kept."""

import json
import re

from utils.course.exercise import ROOT, load, order

PROOF = ROOT / "assets/proof.json"  # mutants and test seconds, written by the commands that measure


def record(section: str, key: str, value: object) -> None:
    """Keeps one measured value for the README."""
    proof = json.loads(PROOF.read_text()) if PROOF.exists() else {}
    proof.setdefault(section, {})[key] = value
    proof[section] = {k: proof[section][k] for k in sorted(proof[section])}
    PROOF.parent.mkdir(exist_ok=True)
    PROOF.write_text(json.dumps(proof, indent=1, sort_keys=True) + "\n")


def forget(lessons: set[str]) -> None:
    """Drops what was measured of lessons that are gone."""
    if not PROOF.exists():
        return
    proof = json.loads(PROOF.read_text())
    for section in proof.values():
        for key in [
            k for k in section if k[0].isdigit() and ".".join(k.split(".")[:2]) not in lessons
        ]:
            del section[key]
    PROOF.write_text(json.dumps(proof, indent=1, sort_keys=True) + "\n")


def generated() -> dict[str, str]:
    """README.md with every part between `<!-- begin NAME -->` and `<!-- end -->` made anew."""
    path = ROOT / "README.md"
    if not path.exists():
        return {}
    makers = {"scoreboard": scoreboard, "mutants": mutants, "seconds": seconds, "lessons": lessons}
    makers |= {"speeds": speeds}

    def part(found: re.Match) -> str:
        return f"<!-- begin {found[1]} -->\n{makers[found[1]]()}<!-- end -->"

    text = re.sub(r"<!-- begin (\w+) -->\n.*?<!-- end -->", part, path.read_text(), flags=re.S)
    return {"README.md": text}


def table(head: list[str], rows: list[list]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(
        "| " + " | ".join(str(c).replace("|", "\\|") for c in row) + " |\n" for row in lines
    )


def _evidence() -> list[dict]:
    files = (ROOT / "assets/evidence").glob("*.json")
    return sorted((json.loads(p.read_text()) for p in files), key=lambda e: order(e["lesson"]))


def scoreboard() -> str:
    """Every claim with what was measured."""
    rows = []
    for made in _evidence():
        for c in made["claims"]:
            band = f"{c['estimate']:.3g} [{c['low']:.3g}, {c['high']:.3g}] {c['unit']}".strip()
            claimed = f"{c['op']} {c['bound']:g}"
            verdict = "holds" if c["holds"] else "**fails**"
            rows.append([made["lesson"], c["name"], claimed, band, c["kind"], c["seeds"], verdict])
    return table(["lesson", "claim", "claimed", "measured [90 %]", "of", "seeds", ""], rows)


def mutants() -> str:
    """The last run of `python -m utils mutants`."""
    proof = json.loads(PROOF.read_text()).get("mutants", {}) if PROOF.exists() else {}
    rows = [
        [id, *(proof[id][k] for k in ("name", "mistakes", "mutants", "killed", "equivalent"))]
        for id in sorted(proof, key=order)
    ]
    return table(["exercise", "name", "named mistakes", "mutants", "killed", "equivalent"], rows)


def seconds() -> str:
    """What a lesson costs, as measured by `evidence` and by `make test`."""
    proof = json.loads(PROOF.read_text()).get("tests", {}) if PROOF.exists() else {}
    rows = []
    for made in _evidence():
        runs = [made["run_all"][p] for p in ("smoke", "quick")]
        spent = [f"{r['seconds']:.0f} s ({r['cpu_seconds']:.0f} CPU s)" for r in runs]
        test = proof.get(made["lesson"])
        cost = f"{made['cpu_seconds'] / 60:.1f} CPU min"
        rows.append(
            [made["lesson"], *spent, cost, f"{test:.0f} CPU s" if test else "–", made["device"]]
        )
    head = ["lesson", "Run All, smoke", "Run All, quick", "evidence", "make test", "measured on"]
    text = table(head, rows)
    if "house" in proof:
        text += f"\nTests that belong to no lesson: {proof['house']:.0f} CPU s in `make test`.\n"
    return text


def speeds() -> str:
    """The last run of each `python -m utils bench NAME`, and of each duel; a line for each work."""
    proof = json.loads(PROOF.read_text()).get("speeds", {}) if PROOF.exists() else {}
    rows = []
    for name, made in proof.items():
        works = {work: told for work, told in made.items() if isinstance(told, dict)}
        about = {k: v for k, v in made.items() if k not in works}
        rows += [
            [name, "", _told(about)],
            *([name, work, _told(told)] for work, told in works.items()),
        ]
    return table(["bench", "work", "measured"], rows)


def _told(made: dict) -> str:
    """Names and numbers in one line."""
    return ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}"
        for name, value in made.items()
    )


def lessons() -> str:
    """What there is to open."""
    rows = []
    for path in sorted(
        (ROOT / "solutions").glob("*.py"), key=lambda p: order(p.stem.partition("_")[0])
    ):
        id, _, name = path.stem.partition("_")
        title = re.search(r"^# # (.+)$", path.read_text(), re.M)
        exercises = load(id)
        core, all_points = [e for e in exercises if e.core], sum(e.points for e in exercises)
        rows.append(
            [
                f"[{id} {name}](notebooks/{path.stem}.ipynb)",
                title[1] if title else "",
                f"{len(core)} + {len(exercises) - len(core)}",
                all_points,
                f"[solved](solutions/{path.stem}.ipynb)",
            ]
        )
    return table(["lesson", "title", "exercises (core + more)", "points", ""], rows)
