"""How much a server takes from a client, and for how long it waits: the same on every port of our processes."""

HEAD_BYTES = 64 * 1024
"""Most bytes beside the body since the last whole request: request line, headers, sizes of chunks, trailers."""

HEAD_FIELDS = 100
"""Most fields of a request, trailers included."""

OVERHEAD_PER_BYTE = 16
"""So many bytes beside the body come free with each byte of it: a chunk of one byte has five at least."""

HEADER_SECONDS = 20
"""Longest time for a request's head, from the connection, or from its first byte on one that was used before."""

SILENCE_SECONDS = 30
"""Longest wait for the next piece of a body."""

WHOLE_SECONDS = 300
"""Longest time for all of it: 16 MB at less than half a megabit a second."""

REST_SECONDS = 20
"""Longest time for the rest of a body whose request was answered before: refused, most often."""

UNREAD_SECONDS = 60
"""Longest time in which a client takes nothing of an answer that waits for it."""

HELD_BYTES = 256 << 20
"""Most bytes kept, of all connections together, of requests that are not whole or not read yet."""

LINGER_SECONDS = 2
"""How long a connection is read on after a refusal: closed at once, it may be reset before the client has read it."""

LINGER_BYTES = 1 << 20
"""And how much of it."""
