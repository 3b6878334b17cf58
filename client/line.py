"""Line: HTTP calls to the gateway, whatever answers there: no redirect, no decompression, a bounded answer in bounded time.

A coordinator is not trusted with the owner's network or memory. A redirect would make this process ask hosts that only the
owner can reach; a compressed answer of a few kilobytes unfolds to gigabytes; one byte a second holds a call for ever.
"""

from __future__ import annotations

import ssl
import time

import httpx

LARGEST = 6 << 20  # bytes: a piece, or a letter with the names of 2^17 pieces
_SILENCE = 30.0  # seconds without a byte; longer than the gateway holds a poll
_WHOLE = 300.0  # seconds for all of an answer


class LineError(httpx.TransportError):
    """An answer that is not taken."""


class Line:
    """Connections to one gateway; may be used from several threads."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._client = httpx.Client(verify=tls, timeout=_SILENCE, follow_redirects=False)

    def send(self, request: httpx.Request) -> httpx.Response:
        """The answer to `request`, read. Raises httpx's errors, `LineError` among them."""
        request.headers["accept-encoding"] = "identity"
        until = time.monotonic() + _WHOLE
        response = self._client.send(request, stream=True)
        try:
            content = _read(response, until)
        finally:
            response.close()
        kept = [(name, value) for name, value in response.headers.multi_items() if name in ("content-type", "date")]
        return httpx.Response(response.status_code, headers=kept, content=content, request=request)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _read(response: httpx.Response, until: float) -> bytes:
    if response.is_redirect:
        raise LineError(f"the coordinator redirects (HTTP {response.status_code}); nothing is asked elsewhere")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise LineError("the coordinator compresses what nobody asked it to; nothing is unpacked")
    found = bytearray()
    for chunk in response.iter_raw():
        found += chunk
        if len(found) > LARGEST:
            raise LineError(f"an answer of more than {LARGEST} bytes; it is not read on")
        if time.monotonic() > until:
            raise LineError(f"an answer that was not whole within {_WHOLE:g} s")
    return bytes(found)
