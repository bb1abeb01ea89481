"""A collector in a process of its own: `python -m tests.collector.serve_process FOLDER PORT BODY_TIME_S OPTIONS`.

Its address is printed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tinkertape.collector import limits, protocol, serve
from tinkertape.errors import TinkertapeError


def main(folder: Path, port: int, options: dict[str, Any]) -> int:
    try:
        serve(
            f"chdb://{folder / 'store'}",
            folder / "inbox",
            folder / "tapes",
            port=port,
            ready=lambda address: print(address, flush=True),
            **options,
        )
    except TinkertapeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    limits.BODY_TIME_S = float(sys.argv[3])
    protocol.HEAD_TIME_S = 2 * limits.BODY_TIME_S
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[4])))
