"""Names under which a server without keys lets itself be asked, against DNS rebinding.

A page on the internet may have its own name resolve to 127.0.0.1 once it is loaded. For the browser the server on its
visitor's machine is then the page's own: what it sends carries no foreign `Origin`, and it reads the replies. But it
carries the page's name as `Host`. Where keys are in use, such a page has none.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.types import Scope

from server.errors import ApiError
from server.loopback import is_loopback

_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Hosts:
    """The names of a server that listens on `host`; `named` are those the configuration adds."""

    def __init__(self, host: str, named: Collection[str]) -> None:
        own = f"[{host}]" if ":" in host else host
        self._names = _LOCAL | {own.lower()} | {name.lower() for name in named}
        # Beyond loopback nobody knows by which names a server is reached; there the configuration says so, or nothing.
        self._checked = bool(named) or is_loopback(host)

    def check(self, scope: Scope, *, keys_in_use: bool) -> None:
        """Raise `ApiError` (403) for a request that was meant for another name. HTTP/1.0 needs none."""
        if keys_in_use or not self._checked:
            return
        host = next((value for name, value in scope["headers"] if name == b"host"), None)
        if host is not None and _name_of(host) not in self._names:
            raise ApiError(
                403, "this server is not asked under this name (Host; server.hosts names more)", code="foreign_host"
            )


def _name_of(host: bytes) -> str:
    """The name of a `Host` header in lower case, without its port and a final dot."""
    text = host.decode("latin-1").strip().lower()
    name, colon, port = text.rpartition(":")
    if colon and (port.isdigit() or not port) and not (text.startswith("[") and text.endswith("]")):
        text = name
    return text.removesuffix(".")
