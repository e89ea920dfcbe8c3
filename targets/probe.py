"""Ask an endpoint once, as the load would, to see that it serves."""

import socket
from http.client import HTTPException, HTTPResponse

from targets.base import Endpoint, Outcome


def http_failure(endpoint: Endpoint, timeout_s: float) -> str:
    """Send the first request and say how it failed: the status and the body's beginning; "" when it was answered."""
    try:
        with socket.create_connection((endpoint.host, endpoint.port), timeout=timeout_s) as connection:
            connection.sendall(endpoint.requests[0])
            answer = HTTPResponse(connection)
            answer.begin()
            body = answer.read()
    except (OSError, HTTPException) as error:
        return f"no answer over HTTP: {error!r}"
    if endpoint.judge(answer.status, body) is Outcome.OK:
        return ""
    return f"HTTP {answer.status}: {body[:200]!r}"
