"""Binds an address and serves until it is stopped."""

import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from unbabble.errors import UnbabbleError
from unbabble.serve.app import make_app
from unbabble.serve.settings import Settings

GRACE_S = 3  # for answers that are being sent when the server is stopped


def serve(settings: Settings, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; ``ready`` is told the address.

    Raises
    ------
    UnbabbleError
        Where the address, the models or the folder cannot be used.
    """
    with _bound(host, port) as listening:
        config = uvicorn.Config(
            make_app(settings),
            log_level="warning",
            access_log=False,  # addresses may have a token in them
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # which uvicorn raises again when all is closed
        query = f"?token={settings.token}" if settings.token else ""
        ready(f"http://{_shown(host)}:{listening.getsockname()[1]}/{query}")
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run([listening])


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except (OSError, UnicodeError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise UnbabbleError(
            f"{host}:{port}: cannot be listened at: {reason}; choose another --port or --host"
        ) from None


def _shown(host: str) -> str:
    """The address as browsers on this machine can open it."""
    if host in ("0.0.0.0", "::", ""):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
