"""What every lesson must be; each finding is one sentence that says where and what to do."""

import ast
import builtins
import inspect
import re
import symtable
import sys
from collections.abc import Iterator

from nbformat import NotebookNode

from utils.course.exercise import CourseError, Exercise, order
from utils.course.lesson_file import CHECK, imports, mark

PLACE = re.compile(r"\b([Ss]ection|[Ff]igure) (\d[\d.]*+)(?! of\b)")


def lint(notebook: NotebookNode, exercises: list[Exercise]) -> list[str]:
    """All findings on a solved and executed notebook; an empty list is what we want."""
    return [
        *(finding for exercise in exercises for finding in _code(exercise)),
        *_names(notebook, exercises),
        *_pairs(notebook, exercises),
        *_prose(notebook, exercises),
        *_outputs(notebook),
    ]


def _pairs(notebook: NotebookNode, exercises: list[Exercise]) -> Iterator[str]:
    """Each exercise once, in order, and its check right behind it."""
    code = [c.source for c in notebook.cells if c.cell_type == "code"]
    marks = [(i, mark(s)) for i, s in enumerate(code) if mark(s)]
    checks = [(i, CHECK.search(s)[1]) for i, s in enumerate(code) if CHECK.search(s)]
    ids = [id for _, id in marks]
    for id in {e.id for e in exercises} - set(ids):
        yield f"Exercise {id} is in utils/checks and not in the lesson."
    for id in {i for i in ids if ids.count(i) > 1}:
        yield f"Exercise {id} stands more than once in the lesson."
    if ids != sorted(ids, key=order):
        yield f"The exercises are out of order: {', '.join(ids)}."
    for i, id in marks:
        if (i + 1, id) not in checks:
            yield f'The code cell after exercise {id} must be its check("{id}").'
    for i, id in checks:
        if (i - 1, id) not in marks:
            yield f'check("{id}") must be the code cell right after its exercise.'
    by_id = {e.id: e for e in exercises}
    for i, id in checks:
        if id in by_id:
            exercise = by_id[id]
            target = (
                f"{exercise.owner.__name__}.{exercise.name}" if exercise.owner else exercise.name
            )
            if code[i].strip() != f'{target} = check("{id}")':
                yield f'The check cell of {id} must read: {target} = check("{id}")'


def _outputs(notebook: NotebookNode) -> Iterator[str]:
    """Every cell was run, nothing went to stderr, each check says its one PASS line."""
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        if not cell.source.strip():
            yield f"Cell {cell.id} is empty: delete it."
        elif not cell.execution_count:
            yield f"Cell {cell.id} was not run: build the lesson again."
        for output in cell.outputs:
            if output.output_type == "error" or output.get("name") == "stderr":
                said = output.get("evalue") or output.get("text")
                yield f"Cell {cell.id} writes to stderr or fails: {said[:300]!r}."
        if found := CHECK.search(cell.source):
            said = [o.get("text", "") for o in cell.outputs]
            if len(said) != 1 or not re.fullmatch(rf"PASS {found[1]} \w+\n", said[0]):
                yield f"check {found[1]} must say exactly one PASS line, and says {said}."


def _prose(notebook: NotebookNode, exercises: list[Exercise]) -> Iterator[str]:
    """No word of an exercise, section, figure or link that is not there."""
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    code = "\n".join(c.source for c in notebook.cells if c.cell_type == "code")
    if not re.match(r"# \S", text):
        yield "The lesson has no title: its first line must be # S.N Title."
    ids, lesson = {e.id for e in exercises}, exercises[0].lesson if exercises else ""
    begun = re.search(r'\bbegin\("([\d.]+)"', code)
    if begun and begun[1] != lesson:
        yield f'The lesson is {lesson}, and it calls begin("{begun[1]}").'
    for id in re.findall(r"\b\d+\.\d+\.\d+\b", text):
        if id.startswith(f"{lesson}.") and id not in ids:
            yield f"The text speaks of exercise {id}, which is not there."
    for kind, number in PLACE.findall(text):
        yield f"The text points to {kind} {number}, which has no number here: name it in words."
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    anchors = {t.strip().replace(" ", "-") for t in titles} | {_slug(t) for t in titles}
    for anchor in re.findall(r"\]\(#([^)]+)\)", text):
        if anchor not in anchors:
            yield f"The text links to #{anchor}, and no heading has that name."


def _slug(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def _code(exercise: Exercise) -> Iterator[str]:
    """Code that a learner's cell can hold: it must mean the same there as in its module."""
    where, tree = f"Exercise {exercise.id} ({exercise.pointer})", ast.parse(exercise.source)
    is_class = isinstance(exercise.reference, type)
    for mistake in exercise.mistakes:
        try:
            exercise.compiled(exercise.patched(mistake))
        except (CourseError, SyntaxError) as error:
            yield f"{where}, the mistake {mistake.says[:40]!r}: {error}"
    if not inspect.getdoc(exercise.reference):
        yield f"{where} has no docstring; it is the learner's contract."
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "super":
            yield f"{where} uses super(), which fails outside its class."
        if isinstance(node, ast.Attribute) and re.match(r"__\w*[^_]$|__\w*[^_]_$", node.attr):
            yield f"{where} uses {node.attr}, which Python renames inside a class."
        if isinstance(node, ast.Nonlocal):
            yield f"{where} is a closure."
        if isinstance(node, ast.Name) and node.id.startswith("_") and node.id != "_":
            yield f"{where} uses the private name {node.id} of its module."
        decorated = isinstance(node, ast.FunctionDef) and not is_class and node.decorator_list
        if decorated:
            yield f"{where} has a decorator; a learner's cell would not show what it does."
    if not is_class and exercise.reference.__closure__:
        yield f"{where} is a closure over {exercise.reference.__code__.co_freevars}."


def _globals(source: str) -> set[str]:
    """The names that a definition takes from its module, annotations and defaults included."""
    found: set[str] = set()

    def look(table: symtable.SymbolTable) -> None:
        found.update(
            s.get_name() for s in table.get_symbols() if s.is_referenced() and s.is_global()
        )
        for child in table.get_children():
            look(child)

    top = symtable.symtable(source, "<exercise>", "exec")
    found.update(s.get_name() for s in top.get_symbols() if s.is_referenced())
    look(top)
    return found


def _names(notebook: NotebookNode, exercises: list[Exercise]) -> Iterator[str]:
    """A name in pointed code is the same object in the notebook as in the module."""
    known, answers = imports(notebook), {e.name for e in exercises}
    defined = {
        node.name: {
            b.attr if isinstance(b, ast.Attribute) else getattr(b, "id", "") for b in node.bases
        }
        for cell in notebook.cells
        if cell.cell_type == "code"
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.ClassDef)
    }
    for exercise in exercises:
        if exercise.owner and exercise.owner.__name__ not in defined:
            name = exercise.owner.__name__
            yield (
                f"Exercise {exercise.id} is a method of {name}: the lesson must define its own, "
                f"class {name}(module.{name}), before the exercise."
            )
        module = vars(sys.modules[exercise.reference.__module__])
        for name in sorted(_globals(exercise.source) - answers - {exercise.name}):
            if hasattr(builtins, name) and name not in module:
                continue
            if name in defined:  # the lesson's own subclass of what the module means
                if name not in defined[name]:
                    yield f"Exercise {exercise.id} uses {name}; the lesson defines another {name}."
            elif name not in known:
                yield f"Exercise {exercise.id} uses {name}; the lesson must import it."
            elif known[name] is not module.get(name):
                yield f"Exercise {exercise.id} uses {name}, which is another object in the lesson."
