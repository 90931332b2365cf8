"""How many cards so many users need: arrivals, a replica under them, the search. No I/O but `plot` and `measured`."""
