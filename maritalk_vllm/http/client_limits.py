"""Size and time limits for clients, the same on every port of our processes."""

HEAD_BYTES = 64 * 1024
"""Maximum bytes other than bodies since the last complete request: request line, headers, chunk sizes, trailers."""

HEAD_FIELDS = 100
"""Maximum number of fields of a request, trailers included."""

OVERHEAD_PER_BYTE = 16
"""Bytes of overhead that each byte of a body allows: a chunk of one byte has at least five."""

HEADER_SECONDS = 20
"""Timeout for the head of a request: from the connection, or from its first byte on a connection used before."""

BODY_IDLE_SECONDS = 30
"""Timeout for the next piece of a body."""

BODY_SECONDS = 300
"""Timeout for a complete body: 16 MB at less than half a megabit per second."""

UPLOAD_SECONDS = 3600
"""Timeout for the upload of a file: 200 MB at half a megabit per second."""

DISCARD_SECONDS = 20
"""Timeout for the rest of a body whose request has already been answered, usually with an error."""

WRITE_STALL_SECONDS = 60
"""Timeout for a client that reads nothing of a response that is waiting to be sent."""

BUFFERED_BYTES = 256 << 20
"""Maximum bytes buffered over all connections, of requests that are incomplete or not read yet."""

LINGER_SECONDS = 2
"""How long a connection is read after an error response: an immediate close can reset it before the client has read
the response."""

LINGER_BYTES = 1 << 20
"""Maximum bytes read meanwhile."""
