"""Sources: what happens in the program, as events on the bus.

A source is named after what it watches. It patches from outside, can be undone, and lets no error of its own through.
`tinker` watches the Tinker SDK, `clock` lets time pass.
"""
