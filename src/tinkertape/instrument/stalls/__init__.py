"""When nobody could run: one thread held the GIL, or a callback its event loop; for how long, who, and where.

monitor.py   the thread that watches, and tells     evidence.py  was it the GIL?
threads.py   who computed                           timers.py    stacks written while the GIL is held
frames.py    stacks as text                         window.py    many short waits, by the second
"""
