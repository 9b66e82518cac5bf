"""Generated mutants: small changes to a reference that its check must notice.

A mutant is one change to the source: an operator, a constant, an axis, two arguments swapped, a
statement dropped. Killed: the check tells it from the reference. A mutant that computes the same
is listed under `equivalents` of its exercise, by its key, with the reason.
"""

import ast
import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass

from utils.course.check import alike, attempt
from utils.course.exercise import CourseError, Exercise

SWAPS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
PAIRS = (("max", "min"), ("amax", "amin"), ("argmax", "argmin"), ("maximum", "minimum"))
PAIRS += (("sum", "mean"), ("zeros", "ones"), ("zeros_like", "ones_like"), ("any", "all"))
PAIRS += (("floor", "ceil"), ("log1p", "log"), ("expm1", "exp"), ("sin", "cos"))
NAMES = dict(PAIRS) | {b: a for a, b in PAIRS}
DROPPED_CALLS = ("detach", "clone", "abs", "sqrt", "square", "relu", "clamp")
SYMMETRIC = ("max", "min", "maximum", "minimum", "logaddexp", "hypot")
SKIPPED = ("annotation", "returns", "decorator_list", "type_params")
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Mutant:
    key: str  # "the statement as it was -> as it is", stable while the statement stands
    source: str


@dataclass(frozen=True)
class Report:
    """What became of one exercise's mutants."""

    total: int
    killed: int
    equivalent: int
    survivors: tuple[str, ...]  # not killed and not explained: the check has a hole
    stale: tuple[str, ...]  # explained, but killed or no longer generated


def changes(node: ast.AST, gradients: bool = False) -> Iterator[ast.AST | None]:
    """The nodes that could stand in a node's place; None drops a statement."""
    if gradients and isinstance(node, ast.Return | ast.Assign) and node.value is not None:
        detach = ast.Attribute(node.value, "detach", ast.Load())
        yield _with(node, value=ast.Call(detach, [], []))
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPS:
        yield _with(node, op=SWAPS[type(node.op)]())
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        yield _with(node, ops=[SWAPS[type(node.ops[0])](), *node.ops[1:]])
    if isinstance(node, ast.UnaryOp):
        yield node.operand
    if isinstance(node, ast.IfExp):
        yield _with(node, body=node.orelse, orelse=node.body)
    if isinstance(node, ast.Constant):
        yield from map(ast.Constant, _constants(node.value))
    if isinstance(node, ast.Attribute) and node.attr in NAMES:
        yield _with(node, attr=NAMES[node.attr])
    if isinstance(node, ast.Name) and node.id in NAMES and isinstance(node.ctx, ast.Load):
        yield _with(node, id=NAMES[node.id])
    if isinstance(node, ast.Call):
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if (
            called not in SYMMETRIC
            and len(node.args) >= 2
            and ast.dump(node.args[0]) != ast.dump(node.args[1])
        ):
            yield _with(node, args=[node.args[1], node.args[0], *node.args[2:]])
        if isinstance(node.func, ast.Attribute) and node.func.attr in DROPPED_CALLS:
            of_module = getattr(node.func.value, "id", "") in ("torch", "np", "F", "math")
            yield node.args[0] if of_module and node.args else node.func.value
        for i, keyword in enumerate(node.keywords):
            if keyword.arg == "keepdim":
                yield _with(node, keywords=node.keywords[:i] + node.keywords[i + 1 :])
    if isinstance(node, ast.Slice) and (node.lower or node.upper):
        yield _with(node, lower=None, upper=node.upper if node.lower else None)
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Assign | ast.AugAssign | ast.Expr) and not docstring:
        yield None


def _constants(value: object) -> list:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [value * 1.1 if value else 0.1]
    return []


def _with(node: ast.AST, **fields: object) -> ast.AST:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def _sites(node: ast.AST, path: tuple = ()) -> Iterator[tuple[tuple, ast.AST]]:
    yield path, node
    for field, value in ast.iter_fields(node):
        if field not in SKIPPED:
            for i, child in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(child, ast.AST):
                    yield from _sites(
                        child, (*path, (field, i if isinstance(value, list) else None))
                    )


def _follow(node: ast.AST, path: tuple) -> ast.AST:
    for field, i in path:
        node = getattr(node, field) if i is None else getattr(node, field)[i]
    return node


def mutants(source: str, blank: tuple[str, ...] = (), gradients: bool = False) -> list[Mutant]:
    """All mutants of a function, or of the named methods of a class."""
    tree = ast.parse(source)
    top = tree.body[0]
    roots = [((("body", 0),), top)]
    if isinstance(top, ast.ClassDef):
        roots = [
            ((("body", 0), ("body", i)), method)
            for i, method in enumerate(top.body)
            if isinstance(method, ast.FunctionDef) and method.name in blank
        ]
    found: dict[str, str] = {}
    for root, function in roots:
        for path, node in _sites(function):
            for new in changes(node, gradients):
                mutated = copy.deepcopy(tree)
                field, i = path[-1]
                parent = _follow(mutated, root + path[:-1])
                value = ast.Pass() if new is None else copy.deepcopy(new)
                if i is None:
                    setattr(parent, field, value)
                else:
                    getattr(parent, field)[i] = value
                text = ast.unparse(ast.fix_missing_locations(mutated))
                at = _statement(function, path)
                after = _follow(_follow(mutated, root), at)
                key = f"{_head(_follow(function, at))} -> {_head(after)}"
                if text != ast.unparse(tree):
                    found.setdefault(key, text)
    return [Mutant(key, text) for key, text in found.items()]


def _statement(function: ast.AST, path: tuple) -> tuple:
    """The path to the innermost statement around a node."""
    length = max(
        i for i in range(len(path) + 1) if isinstance(_follow(function, path[:i]), ast.stmt)
    )
    return path[:length]


def _head(statement: ast.AST) -> str:
    """A statement on one line: of a compound one, its first line."""
    if isinstance(statement, ast.FunctionDef):
        return f"def {statement.name}({ast.unparse(statement.args)})"
    return (
        ast.unparse(statement).splitlines()[0] if not isinstance(statement, ast.Pass) else "dropped"
    )


def prove(exercise: Exercise, sample: int | None = None) -> Report:
    """Runs an exercise's check on its mutants, or on a fixed sample of them."""
    every = mutants(exercise.source, exercise.blank, exercise.gradients)
    chosen = every
    if sample is not None and sample < len(every):
        chosen = random.Random(exercise.id).sample(every, sample)
    want = [attempt(exercise, exercise.reference, seed) for seed in SEEDS]
    if broken := next((w for w in want if isinstance(w, BaseException)), None):
        raise CourseError(f"The probe of {exercise.id} fails on its own reference: {broken!r}")
    alive = [m.key for m in chosen if not _killed(exercise, m, want)]
    known = exercise.equivalents
    stale = [k for k in known if k not in {m.key for m in every}]
    stale += [m.key for m in chosen if m.key in known and m.key not in alive]
    survivors = [key for key in alive if key not in known]
    equivalent = len(alive) - len(survivors)
    killed = len(chosen) - len(alive)
    return Report(len(chosen), killed, equivalent, tuple(survivors), tuple(stale))


def _killed(exercise: Exercise, mutant: Mutant, want: list) -> bool:
    try:
        thing = exercise.compiled(mutant.source)
    except Exception:  # it does not even define: nobody would call it right
        return True
    # An answer that is a hundred times slower than the reference is caught as an endless loop.
    return any(
        not alike(exercise, attempt(exercise, thing, seed, seconds=2), target)
        for seed, target in zip(SEEDS, want, strict=True)
    )
