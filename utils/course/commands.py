"""The commands of the course."""

import argparse
import json
import linecache
import os
import shutil
import sys
from pathlib import Path

from utils.course.exercise import ROOT, CourseError, load, order

# Modules are imported in the commands that need them: `grade --help` need not load torch.


def lab(_: argparse.Namespace) -> int:
    """open JupyterLab on the first lesson, copied into my/"""
    first = min((ROOT / "notebooks").glob("*.ipynb"), key=lambda p: order(p.stem.partition("_")[0]))
    mine = ROOT / "my" / first.name
    mine.parent.mkdir(exist_ok=True)
    if not mine.exists():
        shutil.copy(first, mine)
    print(f"Your copy is my/{mine.name}. Other lessons: copy them from notebooks/ into my/.")
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={ROOT}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    os.execv(sys.executable, [*command, str(mine)])


def build(args: argparse.Namespace) -> int:
    """solutions/*.py and utils -> both notebooks, requirement lists, README; --check: drift gate"""
    from utils.course.build import build

    findings = build(args.lesson, args.check)
    print("\n".join(findings) or ("Nothing has drifted." if args.check else "Built."))
    return bool(findings)


def run(args: argparse.Namespace) -> int:
    """the solved lesson through papermill, into runs/"""
    from utils.course.run import run

    print(run(args.lesson, args.profile).relative_to(ROOT))
    return 0


def evidence(args: argparse.Namespace) -> int:
    """all seeds of a lesson's claims, into assets/evidence; --check judges the stored one"""
    from utils.course.lesson_file import admitted
    from utils.course.readme import table
    from utils.course.run import evidence, evidence_folder, evidence_of_seed, stored_evidence

    if args.seed is not None:
        evidence_of_seed(args.lesson, args.seed)
        print((evidence_folder(args.lesson) / f"seed{args.seed}.json").relative_to(ROOT))
        return 0
    made = stored_evidence(args.lesson) if args.check else evidence(args.lesson, args.jobs)
    failed = {c["name"] for c in made["claims"] if not c["holds"]}
    told = admitted(args.lesson)
    rows = [
        [
            c["name"],
            f"{c['op']} {c['bound']:g}",
            f"{c['estimate']:.4g}",
            f"[{c['low']:.4g}, {c['high']:.4g}]",
            c["seeds"],
            "holds" if c["holds"] else "FAILS",
        ]
        for c in made["claims"]
    ]
    print(table(["claim", "claimed", "measured", "90 %", "seeds", ""], rows), end="")
    cost = f"{made['seconds']:.0f} s, {made['cpu_seconds']:.0f} CPU s on {made['device']}"
    print(f"{cost}, commit {made['commit']}")
    for name in sorted(failed - told):
        print(f"Fails, and the lesson does not say so under 'What did not hold': {name}")
    for name in sorted(told - failed):
        print(f"The lesson says that it did not hold, and the evidence has no such failure: {name}")
    return bool(failed ^ told)


def check(args: argparse.Namespace) -> int:
    """one check on a .py file or notebook: exit 0 PASS, 1 FAIL, 2 TODO, 3 unusable"""
    from utils.course.check import judge, verdict
    from utils.course.exercise import get
    from utils.course.lesson_file import imports, make

    exercise = get(args.exercise)
    path = Path(args.file)
    if not path.is_file():
        raise CourseError(f"There is no file {path}.")
    if path.suffix == ".ipynb":
        from utils.course.submission import answers, cells

        found = answers(cells(path), {exercise.id: ""})
        if exercise.id not in found:
            raise CourseError(f"{path.name} has no cell that begins with # EXERCISE {exercise.id}.")
        source = found[exercise.id]
    else:
        source = path.read_text()
    names = imports(make(exercise.lesson, solved=True)) | {"__name__": "__main__"}
    # An answer may call what other cells define: functions, and classes with their methods.
    others = [e for e in load(exercise.lesson) if e is not exercise]
    names |= {e.owner.__name__: e.owner for e in others if e.owner}
    names |= {e.name: e.reference for e in others if not e.owner}
    status, why = "FAIL", f"{exercise.name} is not defined in {path.name}"
    try:
        place = f"<{exercise.id}>"
        linecache.cache[place] = len(source), None, source.splitlines(True), place
        exec(compile(source, place, "exec"), names)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
    else:
        if exercise.name in names:
            status, why, _ = judge(
                exercise, names[exercise.name], int(os.environ.get("WM_SEED", 0))
            )
    print(verdict(exercise, status, why))
    return {"PASS": 0, "FAIL": 1, "TODO": 2}.get(status, 3)


def mutants(args: argparse.Namespace) -> int:
    """checks against all mutants, and named mistakes on many seeds; prints the README's table"""
    from utils.course.exercise import lessons
    from utils.course.luck import by_chance
    from utils.course.mutants import prove
    from utils.course.readme import record, table

    rows, holes = [], 0
    for exercise in [e for id in args.lesson or lessons() for e in load(id)]:
        report = prove(exercise)
        counts = {
            "name": exercise.name,
            "mistakes": len(exercise.mistakes),
            "mutants": report.total,
            "killed": report.killed,
            "equivalent": report.equivalent,
        }
        record("mutants", exercise.id, counts)
        rows.append([exercise.id, *counts.values()])
        for key in report.survivors:
            print(f"{exercise.id} survives, and is not explained: {key}")
        for key in report.stale:
            print(f"{exercise.id} is explained as equivalent, and is not: {key}")
        if report.equivalent > 0.1 * report.total:
            print(f"{exercise.id} explains more than a tenth of its mutants away.")
        odd = list(by_chance(exercise))
        for what in odd:
            print(what)
        holes += len(odd)
        holes += (
            len(report.survivors) + len(report.stale) + (report.equivalent > 0.1 * report.total)
        )
    print(
        table(["exercise", "name", "named mistakes", "mutants", "killed", "equivalent"], rows),
        end="",
    )
    return bool(holes)


def prove(args: argparse.Namespace) -> int:
    """mutants, Run All in quick, and evidence; of unchanged lessons only the evidence is judged"""
    from utils.course import proof
    from utils.course.exercise import lessons
    from utils.course.run import run_all

    failed = []
    for lesson in args.lesson or lessons():
        bad = evidence(argparse.Namespace(lesson=lesson, check=True, seed=None))
        if proof.proven(lesson):
            print(f"Lesson {lesson} was proven with these very sources; that is not repeated.")
        else:
            bad += mutants(argparse.Namespace(lesson=[lesson]))
            spent = run_all(lesson, "quick")
            print(f"Run All, quick: {spent['seconds']:.0f} s ({spent['cpu_seconds']:.0f} CPU s)")
            if not bad:
                proof.keep(lesson)
        failed += [lesson] * bool(bad)
    print(f"Not proven: {', '.join(failed)}." if failed else "Proven.")
    return bool(failed)


def bench(args: argparse.Namespace) -> int:
    """speed of our side as JSON, kept for the README"""
    from utils.course.bench import BENCHES
    from utils.course.readme import record

    if unknown := [n for n in args.name if n not in BENCHES]:
        raise CourseError(f"There is no bench {unknown[0]!r}; there are: {', '.join(BENCHES)}.")
    for name in args.name or BENCHES:
        made = BENCHES[name]()
        record("speeds", name, made)
        print(json.dumps({"bench": name} | made))
    return 0


def grade(args: argparse.Namespace) -> int:
    """grade notebooks, folders of them, or zips from a learning platform"""
    from utils.course.cohort import command

    return command(args)


def update(args: argparse.Namespace) -> int:
    """a learner's answers into the new version of a lesson; the old file is kept beside it"""
    from utils.course.update import update

    print("\n".join(update(Path(args.file))))
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m utils", description="The commands of the course.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(function: object) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            function.__name__, help=function.__doc__, description=function.__doc__
        )
        sub.set_defaults(function=function)
        return sub

    add(lab)
    sub = add(build)
    sub.add_argument("lesson", nargs="*")
    sub.add_argument("--check", action="store_true")
    sub = add(run)
    sub.add_argument("lesson")
    sub.add_argument("--profile", default="quick", choices=("smoke", "quick", "full"))
    sub = add(evidence)
    sub.add_argument("lesson")
    sub.add_argument("--check", action="store_true")
    sub.add_argument("--jobs", type=int, default=1, help="seeds at a time, a process each (1)")
    sub.add_argument("--seed", type=int, help="this one only, into runs/: for an array of machines")
    sub = add(check)
    sub.add_argument("exercise")
    sub.add_argument("file")
    add(mutants).add_argument("lesson", nargs="*")
    add(prove).add_argument("lesson", nargs="*")
    add(bench).add_argument("name", nargs="*")
    sub = add(grade)
    sub.add_argument("path", nargs="+", help="of a student's files of one lesson the best counts")
    kept = "a finished grade is a file here, made again when the submission or the course changes"
    sub.add_argument("--out", metavar="FOLDER", default="grades", help=f"{kept} (grades)")
    sub.add_argument("--sandbox", choices=("auto", "require", "off"), default="auto")
    sub.add_argument("--workers", type=int, default=os.cpu_count(), help="processes at a time")
    sub.add_argument("--engine", choices=("local", "ray"), default="local")
    sub.add_argument("--json", metavar="FILE", help="all there is to know")
    sub.add_argument("--csv", metavar="FILE", help="a row a student, a column an exercise")
    sub.add_argument("--junit", metavar="FILE", help="for CI")
    sub.add_argument("--summary", metavar="FILE", help="Markdown, appended, for CI")
    add(update).add_argument("file", help="a notebook, Colab's too; kept as NAME.old.ipynb")
    return top


def main() -> int:
    args = parser().parse_args()
    try:
        return args.function(args)
    except CourseError as error:
        print(error, file=sys.stderr)
        return 3
