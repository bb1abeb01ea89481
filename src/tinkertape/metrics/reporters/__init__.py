"""Reporters: each brings metrics to one system, live. A file is a reporter, and its folder is the list of them.

A reporter takes `(metrics, *, bus=None, …)`, listens from the moment it is made, and stops with `close()` or at the end
of a `with`. What a definition says is honoured alike by all of them: `tests/metrics/reporters` holds every file here
against one suite.
"""
