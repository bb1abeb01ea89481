"""One file a cause: the folder is the list, a file's name is its cause's code (`capacity_pause.py`: capacity-pause).

A detector's docstring says its Rule, its Source and when it is Wrong; `LISTENS` names the events that it wants (an
entry stands for itself and for every event below it). `detect(event) -> Iterator[Finding]` is a function, or the method
of a class `Detector`, whose `__init__` may take the run's `book`. A detector never reads a clock: `clock.tick` is an
event like any other, so that a replayed tape gives the findings of the live run.
"""
