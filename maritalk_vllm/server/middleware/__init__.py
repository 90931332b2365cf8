"""The ASGI layers around the application, one a module."""
