"""Who may come in, and which folders the server may touch."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from http.cookies import SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from etpick.errors import InputError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_EVERYWHERE: Final = ("0.0.0.0", "::")


class Roots:
    """The folders within which the interface may read and write."""

    def __init__(self, folders: Iterable[Path | str]) -> None:
        self.folders = tuple(Path(folder).expanduser().resolve() for folder in folders)
        for folder in self.folders:
            if not folder.is_dir():
                raise InputError(f"{folder} is no folder: give --root a folder that exists")

    def inside(self, path: Path | str) -> Path:
        """The path with its links resolved. Raises InputError where it leads out of the folders."""
        resolved = Path(path).expanduser().resolve()
        if not any(resolved.is_relative_to(folder) for folder in self.folders):
            named = ", ".join(map(str, self.folders))
            raise InputError(f"{path} lies outside {named}, where this server may work: start it with --root for more")
        return resolved


class Access:
    """A link that lets one browser in, once, and the cookie by which that browser is known afterwards."""

    def __init__(self, host: str, port: int, *, on_new: Callable[[str], None] = lambda url: None) -> None:
        self.host, self.port, self.on_new = host, port, on_new
        self.cookie = f"etpick-{port}"
        self.session = secrets.token_urlsafe(32)
        self._token = secrets.token_urlsafe(24)

    @property
    def url(self) -> str:
        """The link to open."""
        host = "127.0.0.1" if self.host in _EVERYWHERE else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/?token={self._token}"

    def use(self, token: str) -> bool:
        """Whether a token is the one of the link, which then is worth nothing any more."""
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            return False
        self._token = secrets.token_urlsafe(24)
        self.on_new(self.url)
        return True

    def knows(self, cookies: str) -> bool:
        """Whether a Cookie header is of a browser that was let in."""
        sent = SimpleCookie(cookies).get(self.cookie)
        return sent is not None and secrets.compare_digest(sent.value.encode(), self.session.encode())

    def is_host(self, host: str) -> bool:
        """Whether a Host header names this server: a page of another name must not be able to speak for us."""
        name = urlsplit(f"//{host}").hostname or ""
        return self.host in _EVERYWHERE or name in (*LOOPBACK, self.host)


_REFUSED: Final = """<!doctype html><title>etpick</title>
<body style="font: 16px sans-serif; margin: 4em; max-width: 40em"><h1>etpick</h1><p>{reason}</p>"""
_NO_TICKET: Final = "Open the link that <code>etpick serve</code> has printed in its terminal."
_USED: Final = "This link is wrong or has been used already. <code>etpick serve</code> has printed a new one."


class Guard:
    """Before every route, pages, pictures and websocket alike.

    `direct` are applications for addresses that begin so, which the pages' middleware would only slow down.
    """

    def __init__(self, app: ASGIApp, access: Access, direct: Mapping[str, ASGIApp] | None = None) -> None:
        self.app, self.access, self.direct = app, access, dict(direct or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer that it is not let in."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        tokens = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [])
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self.access.is_host(host) or (origin and urlsplit(origin).netloc != host):
            await _refuse(scope, send, "This request names another server.")
        elif self.access.knows(headers.get("cookie", "")):
            beginning = next((start for start in self.direct if scope["path"].startswith(start)), None)
            await (self.app if beginning is None else self.direct[beginning])(scope, receive, send)
        elif scope["type"] == "http" and tokens:
            await (self._let_in if self.access.use(tokens[0]) else _turn_away)(scope, send)
        else:
            await _refuse(scope, send, _NO_TICKET)

    async def _let_in(self, scope: Scope, send: Send) -> None:
        cookie = f"{self.access.cookie}={self.access.session}; Path=/; HttpOnly; SameSite=Strict"
        headers = [(b"location", scope["path"].encode()), (b"set-cookie", cookie.encode())]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


async def _turn_away(scope: Scope, send: Send) -> None:
    await _refuse(scope, send, _USED)


async def _refuse(scope: Scope, send: Send, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": "not let in"})
        return
    headers = [(b"content-type", b"text/html; charset=utf-8")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": _REFUSED.format(reason=reason).encode()})
