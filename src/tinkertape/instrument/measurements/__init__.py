"""What a `Poller` can measure of the process by name: the folder is the list, a file's name is the measurement's.

Each file has a class `Measurement`, made once a poller; an instance is called each period, and returns the events with
what it measured. `events` are the types that it may tell, so that nothing is measured while nobody listens.
"""
