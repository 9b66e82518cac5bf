"""`check("2.4.3")`: is the answer right, and if not, which mistake was made?

The learner's object and the reference go through one probe on the same seed, and their arrays are
compared. A check prints one verdict, never raises, and returns what later cells should use.
"""

import base64
import contextlib
import functools
import inspect
import os
import random
import signal
import sys
import threading
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType

import numpy as np
from IPython.core.getipython import get_ipython
from IPython.display import display
from IPython.utils.capture import capture_output

from utils.course.exercise import EVIDENCE, ROOT, CourseError, Exercise, broken_seal, get

MARK = "# EXERCISE "
reached: Counter[str] = Counter()  # calls of checked objects outside `check`, if WM_REACH is set

_seen: dict[str, tuple] = {}  # exercise -> what its last check looked at, and what it returned
_asked: Counter[str] = Counter()  # exercise -> hints given
_probing = False


class TooLong(BaseException):
    """A probe ran out of time; not an Exception, so that `except Exception` lets it through."""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises TooLong in the block after some seconds, and again until the block ends."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(
        signal, "setitimer"
    ):
        yield  # only a main thread can be interrupted; elsewhere the cell's own time-out holds
        return

    def stop(*_: object) -> None:
        raise TooLong(f"it did not end within {seconds:g} s; is there an endless loop?")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def neutral(seed: int) -> Iterator[None]:
    """CPU, float32, gradients on, seeded and silent, whatever the notebook has set."""
    # An answer may use the global generators.
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    torch = sys.modules.get("torch")  # a lesson without it need not wait for its import
    with (
        capture_output(),
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
        _neutral_torch(torch, seed) if torch else contextlib.nullcontext(),
    ):
        warnings.simplefilter("ignore")
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)


@contextlib.contextmanager
def _neutral_torch(torch: ModuleType, seed: int) -> Iterator[None]:
    dtype = torch.get_default_dtype()
    moved = torch.get_default_device().type != "cpu"
    with (
        torch.random.fork_rng(devices=[]),
        # Only where it is needed: a device for a context costs as much as a small operation.
        torch.device("cpu") if moved else contextlib.nullcontext(),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
    ):
        torch.set_default_dtype(torch.float32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def wrapped(thing: object, around: Callable[[FunctionType], Callable]) -> object:
    """A function as `around(function)`, or a subclass with every method so."""
    if isinstance(thing, type):
        methods = {k: around(v) for k, v in vars(thing).items() if isinstance(v, FunctionType)}
        return type(thing.__name__, (thing,), methods | {"__module__": thing.__module__})
    return around(thing) if callable(thing) else thing


def _watch(changed: set[str], names: dict[str, list[str]]) -> Callable[[FunctionType], Callable]:
    """Notes the arguments that a call changes in place, by the reference's names for them."""

    def around(function: FunctionType) -> Callable:
        known = names.get(getattr(function, "__name__", ""), next(iter(names.values()), []))

        @functools.wraps(function)
        def call(*args: object, **kwargs: object) -> object:
            given = dict(
                zip(
                    [*known, *(f"argument {i + 1}" for i in range(len(known), len(args)))],
                    args,
                    strict=False,
                )
            )
            given = {k: v for k, v in (given | kwargs).items() if k != "self"}
            before = {k: _leaves(v, copy=True) for k, v in given.items()}
            try:
                return function(*args, **kwargs)
            finally:
                for key, value in given.items():
                    now = _leaves(value)
                    if len(now) != len(before[key]) or not all(map(_same, before[key], now)):
                        changed.add(key)

        return call

    return around


def _leaves(value: object, copy: bool = False) -> list:
    """The tensors and arrays in a value, through lists, tuples and dicts."""
    if hasattr(value, "detach"):
        return [value.detach().clone() if copy else value.detach()]
    if isinstance(value, np.ndarray):
        return [value.copy() if copy else value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [leaf for part in value for leaf in _leaves(part, copy)]
    return []


def _same(a: object, b: object) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def outcome(exercise: Exercise, implementation: object, seed: int, seconds: float = 0) -> dict:
    """The probe's named arrays for one implementation, and which arguments it changed.

    Raises whatever the implementation raises; NotImplementedError where it is not written yet.
    """
    global _probing
    functions = [exercise.reference]
    if isinstance(exercise.reference, type):
        functions = [f for f in vars(exercise.reference).values() if isinstance(f, FunctionType)]
    names = {f.__name__: list(inspect.signature(f).parameters) for f in functions}
    changed: set[str] = set()
    watched = wrapped(implementation, _watch(changed, names))
    if owner := exercise.owner:
        watched = type(
            owner.__name__, (owner,), {exercise.name: watched, "__module__": owner.__module__}
        )
    _probing = True
    try:
        with neutral(seed), within(seconds or exercise.seconds):
            found = exercise.probe(watched, np.random.default_rng(seed))
            if not isinstance(found, dict):
                kind = type(found).__name__
                raise TypeError(f"the probe must return a dict of named arrays, not {kind}")
            found = {key: _array(key, value) for key, value in found.items()}
    finally:
        _probing = False
    # First, because an argument that was changed makes later numbers differ.
    return {"changed": np.array(sorted(changed), dtype=str)} | found


def _array(key: str, value: object) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value  # numpy has no bfloat16
    if value is None:
        raise TypeError(f"{key} is NoneType, not a number: was `return` forgotten?")
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{key} is {type(value).__name__}, not a number or a tensor of numbers")
    return array


def difference(exercise: Exercise, got: dict, want: dict) -> str | None:
    """The first difference between two outcomes, with yours and the target, or None."""
    for key, target in want.items():
        yours = got[key]
        if key == "changed":
            if extra := set(yours) - set(target):
                return f"the argument {min(extra)} is changed in place; leave it, work on a copy"
            if missing := set(target) - set(yours):
                return f"the argument {min(missing)} is to be changed in place, and was not"
        elif yours.shape != target.shape:
            return _beside(f"{key}: another shape", list(yours.shape), list(target.shape))
        elif yours.dtype.kind + target.dtype.kind in ("bi", "bf", "ib", "fb", "fi"):
            return _beside(f"{key}: another type", yours.dtype, target.dtype)
        else:
            near = np.isclose(yours, target, exercise.rtol, exercise.atol, equal_nan=True)
            if not near.all():
                at = tuple(int(i) for i in np.argwhere(~near)[0])
                where = f" at {list(at)}" if at else ""
                share = f", {int((~near).sum())} of {near.size} values" if near.size > 1 else ""
                numbers = f"{yours[at]:.6g}", f"{target[at]:.6g}"
                return _beside(f"{key}: differs{where}{share}", *numbers)
    return None


def _beside(what: str, yours: object, target: object) -> str:
    return f"{what}\n     yours   {yours}\n     target  {target}"


def attempt(
    exercise: Exercise, implementation: object, seed: int, seconds: float = 0
) -> dict | BaseException:
    """The outcome, or what was raised instead of one."""
    try:
        return outcome(exercise, implementation, seed, seconds)
    except BaseException as error:
        return error


def alike(exercise: Exercise, a: dict | BaseException, b: dict | BaseException) -> bool:
    """Whether two attempts cannot be told apart."""
    if isinstance(a, BaseException) or isinstance(b, BaseException):
        return type(a) is type(b) and str(a) == str(b)
    return difference(exercise, a, b) is None


def judge(exercise: Exercise, implementation: object, seed: int) -> tuple[str, str, dict]:
    """PASS, FAIL, TODO or UNUSABLE, why, and the learner's arrays as evidence."""
    if broken := broken_seal():
        return (
            "UNUSABLE",
            f"{broken} was changed by this notebook; restart the kernel and run again",
            {},
        )
    got = attempt(exercise, implementation, seed)
    if isinstance(got, NotImplementedError):
        return "TODO", "not solved yet", {}
    # Fixed before the reference runs, whose numbers an answer must not be able to put there.
    sent = encode(got) if isinstance(got, dict) else {}
    want = attempt(exercise, exercise.reference, seed)
    if isinstance(want, BaseException):
        return "UNUSABLE", f"the reference itself fails in this kernel: {_raised(want)}", {}
    why = _raised(got) if isinstance(got, BaseException) else difference(exercise, got, want)
    if broken := broken_seal():  # an answer may patch when it is called
        return (
            "UNUSABLE",
            f"{broken} was changed by the answer; restart the kernel and run again",
            {},
        )
    if why is None:
        return "PASS", "", sent
    for mistake in exercise.mistakes:
        wrong = attempt(exercise, exercise.compiled(exercise.patched(mistake)), seed)
        if alike(exercise, got, wrong):
            if mistake is exercise.bugged:
                return "TODO", "the bug is still in it", {}
            why += f"\n     It looks as if {mistake.says}."
            break
    return "FAIL", why, sent


def _raised(error: BaseException) -> str:
    """What was raised and on which line of the learner's code."""
    if isinstance(error, TooLong):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [
        f
        for f in frames
        if not f.filename.startswith((str(ROOT / "utils"), sys.prefix, sys.base_prefix))
    ]
    at = f" (line {theirs[-1].lineno}: {theirs[-1].line})" if theirs and theirs[-1].line else ""
    said = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}{': ' if said else ''}{said}{at}"


def check(id: str) -> object:
    """Checks one exercise, prints the verdict, and returns what later cells should use.

    The learner's object is looked up by its name in the notebook, so that a cell with a syntax
    error costs one exercise and no more. If it is not right, the reference is returned.
    """
    try:
        exercise = get(id)
    except CourseError as error:
        print(f"UNUSABLE {error}")
        return None
    answer = _own(id, sys._getframe(1).f_globals.get(exercise.name))
    status, why, sent = (
        "FAIL",
        f"{exercise.name} is not defined; run the cell above, and keep its name",
        {},
    )
    if answer is not None:
        status, why, sent = judge(exercise, answer, int(os.environ.get("WM_SEED", 0)))
    print(verdict(exercise, status, why) + "\n", end="")  # one write is stored as one output
    if status == "PASS" and "WM_SEED" in os.environ:
        display({EVIDENCE: sent}, raw=True)  # a grader compares it where no answer ever ran
    return _remember(exercise, answer, answer if status == "PASS" else exercise.reference)


def _own(id: str, found: object) -> object:
    """What the learner wrote: what is found under its name, or what was there at the last check, if
    the name has another meaning by now: what that check returned, `mine`, or no function at all."""
    answer, returned = _seen.get(id, (None, None))
    if id not in _seen or found is None:
        return found
    other = found is returned or hasattr(found, "stands_for") or not callable(found)
    return answer if other else found


def verdict(exercise: Exercise, status: str, why: str) -> str:
    """What a check prints; for PASS and TODO the same line on every machine, profile and seed."""
    line = f"{status} {exercise.id} {exercise.name}"
    later = "later cells use the reference"
    if status == "TODO":
        return f"{line}: {why}; {later}"
    if status == "PASS":
        return line
    why = why.encode("ascii", "backslashreplace").decode()
    return f"{line}: {why}\n     {later.capitalize()}."


def _remember(exercise: Exercise, answer: object, thing: object) -> object:
    if os.environ.get("WM_REACH"):
        thing = wrapped(thing, functools.partial(_counted, exercise.id))
    before = _seen.get(exercise.id, (None, thing))[1]
    if before is not thing and "torch._dynamo" in sys.modules:
        # A compiled caller would go on using the code of the object it had before.
        sys.modules["torch._dynamo"].reset()
    _seen[exercise.id] = answer, thing
    _listen()
    return thing


def _counted(id: str, function: FunctionType) -> Callable:
    @functools.wraps(function)
    def call(*args: object, **kwargs: object) -> object:
        reached[id] += not _probing
        return function(*args, **kwargs)

    return call


def _listen() -> None:
    """Tells, once a cell, that an exercise cell was run again without its check."""
    shell = get_ipython()
    if shell is None or getattr(shell, "_course_listens", False):
        return
    shell._course_listens = True

    def before(info: object) -> None:
        for id, known in _seen.items():
            name = get(id).name
            now = shell.user_ns.get(name)
            anew = getattr(now, "__module__", None) == "__main__" and not any(
                now is k for k in known
            )
            if anew and f'check("{id}")' not in info.raw_cell:
                print(f'NOTE {id}: {name} was defined anew; run its check("{id}") before going on.')

    shell.events.register("pre_run_cell", before)


def mine(id: str) -> Callable:
    """The learner's own function, right or wrong, to see what it does; checked before.

    Where it is not written, or raises, the reference goes on in its place.
    """
    exercise = get(id)
    answer = _seen.get(id, (None, None))[0] or exercise.reference

    def call(*args: object, **kwargs: object) -> object:
        nonlocal answer
        try:
            return answer(*args, **kwargs)
        except Exception as error:
            unwritten = isinstance(error, NotImplementedError)
            what = "is not written yet" if unwritten else f"raised {error!r}"
            print(f"Your {exercise.name} {what}; the reference goes on.")
            answer = exercise.reference
            return answer(*args, **kwargs)

    call.stands_for = id
    return call


def hint(id: str) -> None:
    """Prints the next hint of an exercise; each call goes one level deeper."""
    try:
        exercise = get(id)
    except CourseError as error:
        print(error)
        return
    level = min(_asked[id], len(exercise.hints) - 1)
    _asked[id] += 1
    count = len(exercise.hints)
    last = " This is the last one." if level == count - 1 else ""
    print(f"Hint {level + 1} of {count} for {id} {exercise.name}: {exercise.hints[level]}{last}")


def encode(arrays: dict) -> dict:
    """Arrays as JSON: dtype, shape and base64 bytes; no pickles."""
    return {
        k: [v.dtype.str, v.shape, base64.b64encode(np.ascontiguousarray(v)).decode()]
        for k, v in arrays.items()
    }


def verify(id: str, seed: int, sent: dict) -> str | None:
    """The second opinion: arrays that came from a kernel against the reference, computed here."""
    exercise = get(id)
    got = {k: np.frombuffer(base64.b64decode(b), d).reshape(s) for k, (d, s, b) in sent.items()}
    want = outcome(exercise, exercise.reference, seed)
    missing = want.keys() - got.keys()
    return f"{sorted(missing)[0]} is missing" if missing else difference(exercise, got, want)
