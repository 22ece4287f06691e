"""Who may ask for what: checks on every request before anything else sees it.

A page of another site can make a browser send requests here, and a name of its own can be made to lead here (DNS
rebinding); both are told by what browsers say of a request, and neither can know the token.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import re
import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unbabble.serve.settings import MB, Refused, Settings
from unbabble.serve.store import Store

COOKIE, COOKIE_DAYS = "unbabble", 30
UPLOADS = ("POST", "/api/recordings")
OPEN = ("/", "/login", "/healthz", "/favicon.ico")  # without the token; "/" asks for it
ASSETS = "/assets/"
PAGES = ("/", "/docs")  # to which other sites may link
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:@/\[\]]+)(?::\d*)?")  # a name or an address, and a port
IDLE_S = 60.0  # in which nothing of a request comes
FORM_BYTES = 64_000  # of a request that is no upload, and of an upload beside its file

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "media-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Token:
    """What a client must know; None: nothing."""

    text: str | None

    @property
    def cookie(self) -> str:
        """What a browser keeps instead of it."""
        return hmac.new((self.text or "").encode(), b"cookie", hashlib.sha256).hexdigest()

    def fits(self, given: str) -> bool:
        return self.text is not None and hmac.compare_digest(given.encode(), self.text.encode())

    def known_to(self, headers: Mapping[str, str]) -> bool:
        """Whether a request has it, as ``Authorization: Bearer`` or as the cookie."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if self.text is None or (scheme.lower() == "bearer" and self.fits(given.strip())):
            return True
        try:
            kept = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return kept is not None and hmac.compare_digest(kept.value.encode(), self.cookie.encode())


class Guard:
    """Wraps the application: refuses what must not be served, and adds what every answer says."""

    def __init__(self, app: ASGIApp, settings: Settings, store: Store) -> None:
        self._app, self._store, self._limits = app, store, settings.limits
        self._token = Token(settings.token)
        self._names = {"localhost", socket.gethostname().lower(), *(name.lower() for name in settings.host_names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-cache" if scope["path"].startswith(ASSETS) else "no-store")
            await send(message)

        try:
            self._check(scope)
            is_upload = (scope["method"], scope["path"]) == UPLOADS
            most = (self._limits.upload_bytes if is_upload else 0) + FORM_BYTES
            n_bytes = self._stated_bytes(Headers(scope=scope), most)
            room: AbstractContextManager[None] = nullcontext()
            if is_upload:
                room = self._store.upload(min(n_bytes, most))
            with room:
                await self._app(scope, self._bounded(receive, most), answer)
        except Refused as error:
            headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "10"}}.get(error.status)
            await JSONResponse({"error": str(error)}, error.status, headers)(scope, receive, answer)

    def _check(self, scope: Scope) -> None:
        """Raise Refused for a request that another site made, or whose client does not know the token."""
        headers, path = Headers(scope=scope), scope["path"]
        host = headers.get("host", "")
        if not self._is_ours(host):
            reason = f"this server is not called {host[:200]!r}; start it with --name to allow that name"
            raise Refused(403, reason)
        origin = headers.get("origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            raise Refused(403, "requests from pages of other sites are refused")
        is_link = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate" and path in PAGES
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not is_link:
            raise Refused(403, "requests from pages of other sites are refused")
        if path not in OPEN and not path.startswith(ASSETS) and not self._token.known_to(headers):
            raise Refused(401, "give the server's token, as Authorization: Bearer TOKEN")

    def _is_ours(self, host: str) -> bool:
        """Names must be known; numeric addresses cannot be made to lead elsewhere."""
        match = HOST.fullmatch(host.lower())
        name = match[1].strip("[]") if match else ""
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _stated_bytes(self, headers: Headers, most: int) -> int:
        stated = headers.get("content-length")
        if stated is None:
            return most if "transfer-encoding" in headers else 0
        if not stated.isdecimal() or int(stated) > most:
            raise self._too_large()
        return int(stated)

    def _bounded(self, receive: Receive, most: int) -> Receive:
        """Count what comes, which may be more than was stated, or nothing for too long."""
        n_bytes, is_whole = 0, False

        async def counted() -> Message:
            nonlocal n_bytes, is_whole
            if is_whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), IDLE_S)
            except asyncio.TimeoutError:
                raise Refused(408, f"nothing came for {IDLE_S:g} s; send it again") from None
            n_bytes += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if n_bytes > most:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> Refused:
        return Refused(413, f"more than the {self._limits.upload_bytes / MB:g} MB that an upload may have")
