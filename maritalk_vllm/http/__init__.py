"""HTTP/1.1 on a socket: listener, connections, protocol, TLS, and uvicorn as every server of ours runs it."""
