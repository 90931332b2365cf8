"""HTTP/1.1 on sockets: listener, connections, protocol, TLS, and the uvicorn server that all our processes use."""
