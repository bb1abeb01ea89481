"""A program, run as Python itself would run it, in this process.

What `python SCRIPT ARGS…` and `python -m MODULE ARGS…` set up is set up here: `sys.argv`, `sys.path[0]`, a fresh
`__main__` with its `__file__`, `__spec__`, `__loader__` and `__builtins__`. What ends the program travels on to the
interpreter, so that exit status, the order of non-daemon threads, `atexit` and finalization, and death by SIGINT
after Ctrl-C are Python's own doing. Only our frames are cut from the traceback, by the hook that prints it.

Nothing is printed here but what Python would print. What does not compile is handed to a plain `python`, before
anything else happened: its message is Python's own, byte for byte.

Source: CPython 3.11, Modules/main.c (`pymain_run_python`), Lib/runpy.py, Python/pythonrun.c (`_PyErr_PrintEx`).

Known to differ: one frame lies below the program's (`importlib_bootstrap.py`), which `inspect.stack()`,
`traceback.print_stack()` and `faulthandler` show, and the recursion limit is higher by what it takes; `sys.orig_argv`
and TINKERTAPE_RUN in the environment show that we are there; modules that we import are loaded already.
"""

from __future__ import annotations

import atexit
import builtins
import importlib.machinery
import importlib.util
import io
import os
import runpy
import subprocess
import sys
import zipimport
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from types import CodeType, ModuleType, TracebackType
from typing import Literal, NoReturn

import msgspec

Hook = Callable[[type[BaseException], BaseException, TracebackType | None], object]
_HOOKS = str(Path(__file__).parents[1] / "instrument") + os.sep  # code that stands between the program and the SDK
_BELOW = (__file__, str(Path(__file__).with_name("importlib_bootstrap.py")))


class Program(msgspec.Struct, frozen=True):
    """What to run: a script, a folder or zip file with a `__main__.py`, a module, or what stands on stdin; and the
    arguments it will see.
    """

    kind: Literal["script", "folder", "module", "stdin"]
    target: str
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the run is called when nobody says: the script's name without `.py`, or the module's."""
        if self.kind in ("module", "stdin"):
            return self.target.replace("-", "stdin", self.kind == "stdin")
        path = Path(self.target).absolute()
        return path.stem if self.kind == "script" else path.name


def program_at(path: str, arguments: tuple[str, ...]) -> Program:
    """The program at a path; a folder or zip file runs its `__main__.py` and `-` is stdin, as with Python.

    Raises `OSError` for a script that cannot be read.
    """
    if path == "-":
        return Program("stdin", path, arguments)
    if Path(path).is_dir() or _is_zip(path):
        return Program("folder", path, arguments)
    with Path(path).open("rb"):
        return Program("script", path, arguments)


def _is_zip(path: str) -> bool:
    try:
        zipimport.zipimporter(path)
    except zipimport.ZipImportError:
        return False
    return True


def prepare(program: Program) -> Callable[[], object]:
    """Make `sys.argv`, `sys.path` and `__main__` the program's own, and give back what runs it without a frame of ours.

    What does not compile, and a module that does not exist, do not come back: a plain Python says why.
    """
    if program.kind in ("script", "stdin"):
        code = _compile_stdin(program) if program.kind == "stdin" else _compile(program)
        _set_world(program)
        _fresh_main(program)
        return partial(exec, code, sys.modules["__main__"].__dict__)
    _set_world(program)
    if program.kind == "module" and not _is_there(program.target):
        hand_over_to_python(program)
    _fresh_main(program)
    run_as_main: Callable[[str, bool], object] = runpy._run_module_as_main  # type: ignore[attr-defined]  # what `python -m` itself calls
    return partial(run_as_main, *(("__main__", False) if program.kind == "folder" else (program.target, True)))


def _compile(program: Program) -> CodeType:
    try:
        source = Path(program.target).read_bytes()
        if source[:4] == importlib.util.MAGIC_NUMBER:
            code = importlib.machinery.SourcelessFileLoader("__main__", program.target).get_code("__main__")
            if code is not None:
                return code
        compiled: CodeType = compile(source, _script_file(program.target), "exec", dont_inherit=True)
        return compiled
    except (SyntaxError, ValueError, ImportError, EOFError):
        hand_over_to_python(program)


def _compile_stdin(program: Program) -> CodeType:
    if sys.stdin is None or sys.stdin.isatty():  # a conversation
        hand_over_to_python(program)
    source = sys.stdin.buffer.read()
    try:
        compiled: CodeType = compile(source, "<stdin>", "exec", dont_inherit=True)
        return compiled
    except (SyntaxError, ValueError):
        with TemporaryFile() as again:
            again.write(source)
            again.seek(0)
            os.dup2(again.fileno(), 0)
        hand_over_to_python(program)


def hand_over_to_python(program: Program) -> NoReturn:
    """Become a plain Python that runs the program: nothing of it has happened yet, so nothing is seen of us."""
    target = ["-m", program.target] if program.kind == "module" else [program.target]
    os.execv(sys.executable, [sys.executable, *interpreter_options(), *target, *program.arguments])


def interpreter_options() -> list[str]:
    """The options that this interpreter was started with."""
    options: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
    is_unbuffered = sys.stdout is not None and isinstance(getattr(sys.stdout, "buffer", None), io.RawIOBase)
    return [*options, "-u"] if is_unbuffered else options


def _is_there(module: str) -> bool:
    """Can the module's top-level name be found? No code of the program runs to say so."""
    top = module.partition(".")[0]
    try:
        return bool(top) and importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False


def _script_file(target: str) -> str:
    """`__file__` as Python makes it: absolute, but not tidied (`/home/me/./train.py`), except for `.` itself."""
    if target == ".":
        return str(Path.cwd())
    return target if os.path.isabs(target) else f"{Path.cwd()}{os.sep}{target}"  # noqa: PTH117  a Path would tidy it


def _folder(program: Program) -> str:
    """`sys.path[0]` as Python makes it: of a script, the folder of the file that the links lead to."""
    match program.kind:
        case "script":
            return str(Path(program.target).resolve().parent)
        case "folder":
            return _script_file(program.target)
        case "module":
            return str(Path.cwd())
    return ""


def _set_world(program: Program) -> None:
    """Set `sys.argv` and what `sys.path` begins with.

    `-P` and PYTHONSAFEPATH leave the script's folder out, but never a folder that is the program.
    """
    sys.argv[:] = ["-m" if program.kind == "module" else program.target, *program.arguments]
    if not sys.flags.safe_path or program.kind == "folder":
        sys.path.insert(0, _folder(program))


def _fresh_main(program: Program) -> None:
    """A `__main__` with the names that Python gives it before a script begins; else `runpy` fills it."""
    main = ModuleType("__main__")
    namespace = main.__dict__
    namespace.update(__annotations__={}, __builtins__=builtins, __loader__=importlib.machinery.BuiltinImporter)
    if program.kind == "stdin":
        namespace.update(__file__="<stdin>", __cached__=None)
    elif program.kind == "script":
        path = _script_file(program.target)
        compiled = path.endswith(".pyc")
        loader = importlib.machinery.SourcelessFileLoader if compiled else importlib.machinery.SourceFileLoader
        namespace.update(__file__=path, __cached__=None, __loader__=loader("__main__", path))
    _ours.append(sys.modules["__main__"])
    sys.modules["__main__"] = main


_ours: list[ModuleType] = []  # the module that started us is still running: it must not be cleared


def cut_our_frames(error: BaseException) -> None:
    """Let the hook that prints an uncaught exception see the program's frames only.

    Ours are added while the exception travels on.
    """
    original: Hook | None = getattr(sys, "excepthook", None)
    if original is None:  # deleted by the program: Python says so itself
        return
    traceback = program_traceback(error)

    def hook(kind: type[BaseException], value: BaseException, _: TracebackType | None) -> None:
        sys.excepthook = original
        value.__traceback__ = sys.last_traceback = traceback
        _print_with(original, kind, value, traceback)

    sys.excepthook = hook
    atexit.register(_restore_hook, hook, original)  # if the hook was never reached


def _restore_hook(hook: Hook, original: Hook) -> None:
    if sys.excepthook is hook:
        sys.excepthook = original


def _print_with(hook: Hook, kind: type[BaseException], value: BaseException, traceback: TracebackType | None) -> None:
    """Call the program's own hook; when that fails, say both, as `_PyErr_PrintEx` does."""
    try:
        hook(kind, value, traceback)
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001  the hook's own, whatever it is
        _tell_failed_hook(error, kind, value, traceback)


def _tell_failed_hook(
    failed: BaseException, kind: type[BaseException], value: BaseException, traceback: TracebackType | None
) -> None:
    failed.__traceback__ = program_traceback(failed)
    stream = sys.stderr if sys.stderr is not None else io.StringIO()
    stream.write("Error in sys.excepthook:\n")
    sys.__excepthook__(type(failed), failed, failed.__traceback__)
    stream.write("\nOriginal exception was:\n")
    sys.__excepthook__(kind, value, traceback)


def program_traceback(error: BaseException) -> TracebackType | None:
    """The error's traceback as it would be without us: from the program's lowest frame on, without those of the
    SDK's hooks; they are taken out of what the error came from, too.
    """
    seen: set[int] = set()
    links: list[BaseException | None] = [error]
    while links:
        link = links.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            link.__traceback__ = _without_hooks(link.__traceback__)
            links += [link.__cause__, link.__context__]
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code.co_filename in _BELOW:
        traceback = traceback.tb_next
    return traceback


def _without_hooks(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and _is_hook(traceback):
        traceback = traceback.tb_next
    each = traceback
    while each is not None:
        while each.tb_next is not None and _is_hook(each.tb_next):
            each.tb_next = each.tb_next.tb_next
        each = each.tb_next
    return traceback


def _is_hook(traceback: TracebackType) -> bool:
    return traceback.tb_frame.f_code.co_filename.startswith(_HOOKS)
