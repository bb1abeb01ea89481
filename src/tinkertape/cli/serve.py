"""`tinkertape serve`: the collector, its loader and the page, on loopback."""
