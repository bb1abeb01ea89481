"""`python -m tinkertape` is the command `tinkertape`."""

from __future__ import annotations

from tinkertape.cli import main

if __name__ == "__main__":
    main()
