"""What the `tinkertape` command calls.

Click and rich are the extra `[cli]`: without them one line says what to install. A mistake of the user's is one line
on stderr, never a traceback. Exit status: 0 done, 1 the answer is no, 2 used wrongly (a setting, an argument, a run
that does not exist), 130 after Ctrl-C.
"""

from __future__ import annotations

import importlib.util
import sys

NEEDED = ("click", "rich")


def main() -> None:
    """Run the command line of `sys.argv`; ends the process with its status, or as the program of `run` ended."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"tinkertape: the command line needs {' and '.join(missing)}, not installed here; "
            'pip install "tinkertape[cli]" (also part of [tinker] and [server])\n'
        )
        sys.exit(1)
    from tinkertape.cli.group import call  # noqa: PLC0415  click is an extra: its absence was said above

    call()
