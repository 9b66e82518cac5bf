"""The slow proof of a lesson; it need not be repeated while its sources stay as they are."""

import ast
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from utils.course.exercise import ROOT, checks_file
from utils.course.lesson_file import project, text_of
from utils.course.readme import PROOF, record

# Of the machinery only what decides a proof counts; the rest has tests of its own.
JUDGES = ("check", "exercise", "mutants", "probes")


def sources(lesson: str) -> list[Path]:
    """All files that a lesson's proof depends on: its text, its checks, every module of `utils`
    that these import, directly or through others, and the assets that any of them names."""
    machinery, found = ROOT / "utils/course", set()
    waiting = [text_of(lesson), checks_file(lesson)]
    waiting += [machinery / f"{name}.py" for name in JUDGES]
    while waiting:
        if (path := waiting.pop()) not in found:
            found.add(path)
            waiting += [p for p in _imported(path) if p.parent != machinery]
    text = "\n".join(path.read_text() for path in found if path.parent != machinery)
    assets = [p for p in (ROOT / "assets").rglob("*") if p.is_file() and p != PROOF]
    own = f"{lesson}_"  # its checkpoints, by whatever name the text makes of their parts
    return sorted(found.union(p for p in assets if p.name.startswith(own) or _named(p, text)))


def _named(asset: Path, text: str) -> bool:
    """A script by the command that runs it, evidence by its lesson in quotes, all else by its name:
    a word of prose or a number that happens to be alike is none."""
    stem = re.escape(asset.stem)
    if asset.suffix == ".py":
        return bool(re.search(rf"\bassets\.{stem}\b", text))
    if asset.parent.name == "evidence":
        return f'"{asset.stem}"' in text
    return bool(re.search(rf"(?<![\w.]){stem}(?!\w)", text))


def _imported(path: Path) -> Iterator[Path]:
    """The modules of `utils` that a file imports, at its top or in a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in getattr(node, "names", ()) if isinstance(alias, ast.alias)]
        if isinstance(node, ast.ImportFrom):  # of `from a import b`, b may be a module too
            names = [f"{node.module}.{name}" for name in names]
        for name in names:
            parts = name.split(".") if name.startswith("utils.") else []
            for n in range(1, len(parts) + 1):
                place = ROOT.joinpath(*parts[:n])
                yield from filter(Path.exists, (place.with_suffix(".py"), place / "__init__.py"))


def fingerprint(lesson: str) -> str:
    """A hash of the sources, and of the release of torch that the course is measured with."""
    parts = [project()["tool"]["course"]["torch"]]
    for path in sources(lesson):
        parts += [str(path.relative_to(ROOT)), hashlib.sha256(path.read_bytes()).hexdigest()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def proven(lesson: str) -> bool:
    """Whether the last proof that held was of these very sources."""
    stored = json.loads(PROOF.read_text()).get("proven", {}) if PROOF.exists() else {}
    return stored.get(lesson) == fingerprint(lesson)


def keep(lesson: str) -> None:
    """Remembers that the proof of these sources holds."""
    record("proven", lesson, fingerprint(lesson))
