"""The reasons for failed connections."""

import socket
import ssl

import httpx
import pytest

from maritalk_vllm.licensing.http_address import connection_failure

NOT_FOUND = "its name was not found in the DNS"


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), NOT_FOUND),
        (socket.gaierror(socket.EAI_NODATA, "No address associated with hostname"), NOT_FOUND),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), "the DNS does not answer"),
        (ConnectionRefusedError(111, "[Errno 111] refused"), "Connection refused"),
        (ssl.SSLCertVerificationError(1, "self-signed certificate"), "the system's text"),
        (TimeoutError(), "Connection timed out"),
        (OSError("All connection attempts failed"), "the system's text"),
    ],
)
def test_connection_failure(cause: OSError, reason: str) -> None:
    error = httpx.ConnectError("the system's text")
    error.__cause__ = cause
    assert connection_failure(error) == reason
