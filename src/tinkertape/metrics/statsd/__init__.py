"""StatsD's protocol in its two dialects, and the way to the daemon; `reporters/statsd.py` puts the parts together.

options.py   what a definition asks of StatsD              lines.py      a value as a line; nothing can be injected
deltas.py    what is new since the last report             packing.py    lines as packets, as few as there can be
buffer.py    single values, on their way                   transport.py  the socket: names, families, reconnecting
sender.py    the thread                                    losses.py     what was lost, by its reason
"""
