"""The lowest frame of a recorded program: Python runs this file, in an interpreter of its own, and this file's code
runs the program. `tinkertape run` becomes it (`run.py`), so that one frame of ours lies below the program's, and none
of click's. That one is the price of knowing how a program ended: nothing tells of `raise SystemExit(3)` but a handler.

The name is for `warnings`, which passes over every frame whose file is named after "importlib" and "_bootstrap", the
import system's: a `warn(stacklevel=2)` at a script's top level says `sys:1`, as without us.
"""

from __future__ import annotations

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # this file's folder, where a `text.py` is none of the program's business

from tinkertape.cli.program import cut_our_frames, prepare
from tinkertape.cli.recorded import Recorded
from tinkertape.cli.recording import Recording

OURS = 2 if sys.version_info < (3, 12) else 1  # of the recursion limit: this frame, and the call of `exec`

recorded = Recorded.of(sys.argv[1:])
prepared = [prepare(recorded.program)]
recording = Recording.begin(recorded.program, name=recorded.name, quiet=recorded.quiet)
sys.setrecursionlimit(sys.getrecursionlimit() + OURS)
try:
    prepared.pop()()  # nothing here holds the program's globals: at the end they go as without us
except BaseException as error:
    recording.ended(error)
    if not isinstance(error, SystemExit):
        cut_our_frames(error)
    raise
recording.ended(None)
