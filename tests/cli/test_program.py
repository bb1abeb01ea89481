"""`tinkertape run` against plain `python`: the same bytes on stdout and stderr, the same exit status."""

from __future__ import annotations

import ast
import re
import sys
import zipfile
from pathlib import Path
from textwrap import dedent

import pytest
from tests.cli.conftest import TINKERTAPE, call

ADDRESS = re.compile(r"0x[0-9a-f]+")

SCRIPTS = {
    "a world of its own": """
        import sys, __main__
        print(sorted(globals()))
        print(__name__, __file__, __spec__, __package__, __doc__, __annotations__, type(__builtins__), type(__loader__))
        print(sys.argv, sys.path[0], __main__.__dict__ is globals(), sys.modules["__main__"] is __main__)
        sys.stdout.write("out without a line feed"); sys.stderr.write("err\\n"); print("ünïcode ✓")

        import beside, click_like, inspect, pickle, render
        print([(each.WHO, each.__file__) for each in (beside, click_like, render)])  # `render` is one of ours, too
        class Mine: pass
        print(inspect.getsource(Mine), type(pickle.loads(pickle.dumps(Mine()))) is Mine, pickle.dumps(Mine)[:40])
        x: print("evaluated") = 1  # `annotations` of the future are not ours to give
    """,
    "status by number": "import sys; sys.exit(3)",
    "status by words": "import sys; sys.exit('these are the words')",
    "status by nothing": "import sys; sys.exit()",
    "status by an object": "raise SystemExit([1, 2])",
    "status beyond a byte": "import sys; sys.exit(259)",
    "an uncaught exception": """
        def outer(): return inner()
        def inner(): return {}["key"]
        print("before")
        outer()
    """,
    "a chain of exceptions": """
        try:
            1 / 0
        except ZeroDivisionError as error:
            raise ValueError("worse") from error
    """,
    "an exception group with a note": """
        error = ValueError("noted"); error.add_note("a note")
        raise ExceptionGroup("several", [error, KeyError("k")])
    """,
    "Ctrl-C that nobody catches": "raise KeyboardInterrupt",
    "Ctrl-C of a kind of its own": "class Mine(KeyboardInterrupt): pass\nraise Mine('x')",
    "Ctrl-C by a signal": "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('never')",
    "a hook of its own": """
        import sys
        sys.excepthook = lambda kind, value, trace: print("hook", kind, value, trace.tb_lineno, trace.tb_next)
        raise ValueError("mine")
    """,
    "a hook that fails": """
        import sys
        def hook(*_): raise KeyError("in the hook")
        sys.excepthook = hook
        raise ValueError("mine")
    """,
    "a hook that leaves": """
        import sys
        sys.excepthook = lambda *_: sys.exit(7)
        raise ValueError("mine")
    """,
    "no hook": "import sys; del sys.excepthook; print(1)",
    "the hook as it was, at exit": """
        import atexit, sys
        def at_exit(): print(sys.excepthook is sys.__excepthook__, type(sys.last_value), sys.last_traceback.tb_lineno)
        atexit.register(at_exit)
        raise ValueError("mine")
    """,
    "no exception is being handled in a hook": """
        import sys
        sys.excepthook = lambda *_: print(sys.exc_info())
        raise ValueError("mine")
    """,
    "the order of the end": """
        import atexit, threading
        atexit.register(print, "atexit: first registered")
        atexit.register(print, "atexit: last registered")
        def late():
            over.wait()
            print("thread")
        over = threading.Event()
        thread = threading.Thread(target=late); thread.start()
        class Last:
            def __del__(self): print("finalized")
        last = Last()
        print("end of code")
        over.set()
    """,
    "an exception in a thread": """
        import threading
        thread = threading.Thread(target=lambda: 1 / 0, name="mine"); thread.start(); thread.join()
    """,
    "an exception at exit": "import atexit; atexit.register(lambda: 1 / 0)",
    "who closes every file": """
        import os
        os.closerange(3, 256)
        mine = [os.open("mine", os.O_CREAT | os.O_WRONLY) for _ in range(40)]
        print(mine[0], len(mine))
    """,
    "leaving in a hurry": "import os; print('lost?', flush=True); os._exit(5)",
    "SIGTERM": """
        import atexit, os, signal
        atexit.register(print, "never")
        print("before", flush=True); print("in a buffer")
        os.kill(os.getpid(), signal.SIGTERM); print("never", flush=True)
    """,
    "signals as they are": """
        import signal
        numbers = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE
        print([repr(signal.getsignal(number)) for number in numbers], signal.getsignal(15) is signal.SIG_DFL)
        print(repr(signal.signal(signal.SIGTERM, print)), repr(signal.signal(signal.SIGTERM, signal.SIG_DFL)))
    """,
    "who waits for a signal": """
        import os, signal
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        os.kill(os.getpid(), signal.SIGTERM)
        print(signal.sigwait([signal.SIGTERM]), signal.pthread_sigmask(signal.SIG_BLOCK, []))
    """,
    "a forked worker that is terminated": """
        import multiprocessing, time
        worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,))
        worker.start(); worker.terminate(); worker.join()
        print(worker.exitcode)
    """,
    "a signal handler of asyncio": """
        import asyncio, os, signal
        async def main():
            over = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
            os.kill(os.getpid(), signal.SIGTERM)
            await over.wait()
        asyncio.run(main())
        print(repr(signal.getsignal(signal.SIGTERM)))
    """,
    "its own handler": """
        import os, signal, sys
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(12)); os.kill(os.getpid(), signal.SIGTERM)
    """,
    "handlers that go on, and SIGHUP": """
        import os, signal
        def tell(number, frame): print(signal.Signals(number).name, frame.f_code.co_name, frame.f_lineno, flush=True)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, tell)
            os.kill(os.getpid(), number)
        signal.signal(signal.SIGHUP, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGHUP)
    """,
    "a syntax error": "x = (1,\n",
    "an indentation error": "def f():\nreturn 1",
    "bytes that are no text": b"x = '\xff'\n",
    "an unknown encoding": "# coding: martian\nx = 1",
    "a null byte": "x = 1\0",
    "another encoding": "# coding: latin-1\nprint('\xe9')\n".encode("latin-1"),
    "an assertion": "assert 1 == 2, 'no'",
    "warnings at every level": """
        import sys, warnings
        warnings.simplefilter("always")
        def warn(level): warnings.warn(f"from level {level}", DeprecationWarning, stacklevel=level)
        for level in (1, 2, 3): warn(level); warnings.warn(f"from the top, level {level}", stacklevel=level)
        exec(compile("warn(2); warn(3); warn(4)", "elsewhere.py", "exec"))
        warnings.simplefilter("error"); warnings.warn("an error", stacklevel=2)
    """,
    "who logs": """
        import logging
        told = "%(filename)s %(lineno)d %(funcName)s %(module)s %(pathname)s %(processName)s %(threadName)s %(message)s"
        logging.basicConfig(format=told)
        def log(): logging.warning("careful"); logging.error("worse", stacklevel=2); logging.error("x", exc_info=True)
        log(); logging.warning("from the top")
    """,
    "recursion": """
        def depth(n):
            try: return depth(n + 1)
            except RecursionError: return n
        def deeper(n): return deeper(n + 1)
        print(depth(0))
        deeper(0)
    """,
    "the state of the interpreter": """
        import gc, os, sys, threading
        print(sys.path, sys.flags, sys.warnoptions, sys._xoptions, sys.executable, sys.stdout, sys.stdin)
        print(sys.exit, sys.displayhook, sys.excepthook, sys.unraisablehook, threading.excepthook)
        print(os.getcwd(), os.umask(0), sys.getswitchinterval(), sys.gettrace(), sys.getprofile(), sys.exc_info())
        print(threading.main_thread() is threading.current_thread(), gc.isenabled(), gc.get_threshold())
        print(sorted(os.environ.keys() - {"TINKERTAPE_RUN"}), [name for name in sys.modules if "click" in name])
    """,
    "itself again": """
        import os, sys
        if sys.argv[-1] != "again": os.execv(sys.executable, [sys.executable, *sys.argv, "again"])
        print(sys.argv)
    """,
    "objects go before atexit": """
        import atexit, sys
        class Held:
            def __del__(self): print("gone")
        def main():
            held = Held()
            sys.exit(3)
        atexit.register(print, "atexit")
        main()
    """,
    "an imported syntax error in a chain": """
        import sys
        sys.dont_write_bytecode = True
        open("broken.py", "w").write("def f(:\\n")
        try: import broken
        except SyntaxError: import broken
    """,
    "workers of every kind": """
        import multiprocessing, sys
        from concurrent.futures import ProcessPoolExecutor
        def work(x): return x * x, __name__, multiprocessing.current_process().name
        def fail(x): raise ValueError(x)
        if __name__ == "__main__":
            print("main")
            for method in ("spawn", "forkserver", "fork"):
                context = multiprocessing.get_context(method)
                with ProcessPoolExecutor(1, mp_context=context) as pool:
                    print(list(pool.map(work, [2])), repr(pool.submit(fail, 3).exception()))
                worker = context.Process(target=fail, args=(4,)); worker.start(); worker.join(); print(worker.exitcode)
            with context.Pool(1) as pool: print(pool.map(work, [2]))
    """,
    "a forked child that exits": """
        import os, sys
        if os.fork() == 0: print("child", flush=True); sys.exit(4)
        print(os.waitstatus_to_exitcode(os.wait()[1]))
    """,
    "asyncio": """
        import asyncio
        async def main(): await asyncio.sleep(0); raise LookupError("in a task")
        asyncio.run(main())
    """,
    "reading on": "import sys; print(sys.stdin.read().upper()); input()",
}


Seen = tuple[object, str, str]  # status, stdout, stderr


def _plain(arguments: list[str], work: Path, directory: Path, **more: str) -> Seen:
    return _seen(call([sys.executable, *arguments], directory, cwd=work, stdin="from stdin", **more))


def _recorded(arguments: list[str], work: Path, directory: Path, **more: str) -> Seen:
    command = [*TINKERTAPE, "run", "--quiet", *arguments]
    return _seen(call(command, directory, cwd=work, stdin="from stdin", **more))


def _seen(completed: object) -> Seen:
    stdout, stderr = (ADDRESS.sub("0x", getattr(completed, name)) for name in ("stdout", "stderr"))
    return getattr(completed, "returncode"), stdout, stderr  # noqa: B009


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with a script's neighbours."""
    folder = tmp_path / "work"
    folder.mkdir()
    for name in ("beside", "render", "click_like"):
        (folder / f"{name}.py").write_text(f"WHO = {name!r}\n")
    return folder


@pytest.mark.parametrize("title", SCRIPTS)
def test_a_script_cannot_tell_that_it_is_recorded(title: str, work: Path, directory: Path) -> None:
    source = SCRIPTS[title]
    (work / "script.py").write_bytes(source if isinstance(source, bytes) else dedent(source).lstrip("\n").encode())

    assert _recorded(["./script.py", "--name", "a b", "--", "-q", ""], work, directory) == _plain(
        ["./script.py", "--name", "a b", "--", "-q", ""], work, directory
    )


def test_what_a_script_holds_goes_at_its_end(work: Path, directory: Path) -> None:
    (work / "script.py").write_text("class Held:\n  def __del__(self): print('gone')\nheld = Held()\n")

    assert _recorded(["script.py"], work, directory) == _plain(["script.py"], work, directory) == (0, "gone\n", "")


MODULE = """
    import sys
    print(sys.argv[1:], __name__, __package__, __spec__.name, __file__, sys.path[0], sorted(globals()))
    from . import beside
    print(beside.__name__)
    1 / 0
"""


def test_a_module_runs_as_with_python(work: Path, directory: Path) -> None:
    package = work / "package"
    package.mkdir()
    (package / "__init__.py").write_text("print('imported', __name__)\n")
    (package / "beside.py").touch()
    (package / "module.py").write_text(dedent(MODULE))
    (package / "__main__.py").write_text("import sys; print('main', sys.argv, __package__); raise KeyboardInterrupt\n")

    assert _recorded(["-m", "package.module", "--name", "x"], work, directory) == _plain(
        ["-m", "package.module", "--name", "x"], work, directory
    )
    assert _recorded(["-m", "package", "-m"], work, directory) == _plain(["-m", "package", "-m"], work, directory)
    assert _recorded(["-mpackage", "-mx", "-q"], work, directory) == _plain(["-mpackage", "-mx", "-q"], work, directory)


def test_a_module_that_does_not_exist_is_told_as_by_python(work: Path, directory: Path) -> None:
    assert _recorded(["-m", "no_such_module"], work, directory) == _plain(["-m", "no_such_module"], work, directory)
    assert _recorded(["-m", "beside.inner"], work, directory) == _plain(["-m", "beside.inner"], work, directory)

    assert len(list(directory.glob("tapes/*"))) <= 1  # the second one imports before it fails


def test_a_folder_and_a_zip_file_run_their_main(work: Path, directory: Path) -> None:
    main = (
        "import sys; print(sys.argv, __file__, sys.path[0], __spec__.name, __package__ == ''); raise ValueError('x')\n"
    )
    (work / "folder").mkdir()
    (work / "folder" / "__main__.py").write_text(main)
    with zipfile.ZipFile(work / "program.zip", "w") as archive:
        archive.writestr("__main__.py", main)

    assert _recorded(["folder", "x"], work, directory) == _plain(["folder", "x"], work, directory)
    assert _recorded(["."], work / "folder", directory) == _plain(["."], work / "folder", directory)
    assert _recorded(["./program.zip", "x"], work, directory) == _plain(["./program.zip", "x"], work, directory)


def test_a_link_runs_beside_what_it_leads_to(work: Path, directory: Path) -> None:
    (work / "elsewhere").mkdir()
    (work / "script.py").write_text("import sys, beside; print(__file__, sys.argv, sys.path[0])")
    (work / "elsewhere" / "link.py").symlink_to("../script.py")

    assert _recorded(["elsewhere/link.py"], work, directory) == _plain(["elsewhere/link.py"], work, directory)
    assert _recorded([str(work / "elsewhere" / "link.py")], work, directory) == _plain(
        [str(work / "elsewhere" / "link.py")], work, directory
    )


def test_settings_of_the_interpreter_hold(work: Path, directory: Path) -> None:
    (work / "script.py").write_text("import sys; print(sys.path[0], sys.flags.safe_path)\nimport beside")

    assert _recorded(["script.py"], work, directory, PYTHONSAFEPATH="1", PYTHONPATH=str(Path.cwd() / "src")) == _plain(
        ["script.py"], work, directory, PYTHONSAFEPATH="1", PYTHONPATH=str(Path.cwd() / "src")
    )


def test_what_stands_on_stdin_runs_as_with_python(work: Path, directory: Path) -> None:
    tells = "import sys; print(sys.argv, __file__, sys.path[0], __spec__, repr(sys.stdin.read())); 1 / 0"

    for source in (tells, "x = (1,\n"):
        plain, ours = (
            _seen(call([*command, "-", "-q", "x"], directory, cwd=work, stdin=source))
            for command in ([sys.executable], [*TINKERTAPE, "run", "-q"])
        )
        assert ours == plain


def test_options_of_the_interpreter_hold(work: Path, directory: Path) -> None:
    (work / "script.py").write_text(
        "import sys; print(sys.flags, sys.warnoptions, sys._xoptions, sys.stdout.write_through, __debug__)\n"
        "import warnings; warnings.warn('an error')"
    )
    options = ["-u", "-O", "-B", "-P", "-bb", "-W", "error", "-X", "utf8=1"]

    ours = call([sys.executable, *options, *TINKERTAPE[1:], "run", "-q", "script.py"], directory, cwd=work)

    assert _seen(ours) == _plain([*options, "script.py"], work, directory)


def test_one_frame_of_ours_lies_below_the_program_and_that_is_all(work: Path, directory: Path) -> None:
    (work / "script.py").write_text("import inspect; print([frame.filename for frame in inspect.stack()])")

    [_, stdout, _] = _recorded(["script.py"], work, directory)

    script, ours = ast.literal_eval(stdout)
    assert (Path(script).name, Path(ours).name) == ("script.py", "importlib_bootstrap.py")
