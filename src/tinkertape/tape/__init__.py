"""The tape: the event stream on disk; also the collector's inbox.

`format` says what a line is, `ledger` what adds up (both pure); `recorder` and `writer` bring events to a file,
`reader` and `tape` read them back, `replay` executes them again; `marks` is how far somebody came. A closed segment is
compressed (`compression`, `forms`) or removed (`removal`, `last_words`) by `upkeep`, under `hold`; `verify` says what
is damaged.
"""

from tinkertape.tape.format import End, Header, decode_line, encode_line
from tinkertape.tape.headers import new_header, segment_path
from tinkertape.tape.ledger import Ledger
from tinkertape.tape.reader import Reader, Record
from tinkertape.tape.recorder import Recorder
from tinkertape.tape.replay import Replayed, replay
from tinkertape.tape.segment import SegmentFile
from tinkertape.tape.tape import Tape, find_tapes, open_tape, unreadable_tapes
from tinkertape.tape.verify import Damage, Verified

__all__ = [
    "Damage",
    "End",
    "Header",
    "Ledger",
    "Reader",
    "Record",
    "Recorder",
    "Replayed",
    "SegmentFile",
    "Tape",
    "Verified",
    "decode_line",
    "encode_line",
    "find_tapes",
    "new_header",
    "open_tape",
    "replay",
    "segment_path",
    "unreadable_tapes",
]
