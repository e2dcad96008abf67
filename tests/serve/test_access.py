"""Nobody comes in without the link, once; nothing outside the folders given is touched."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etpick.errors import InputError
from etpick.serve.access import Access, Guard, Roots


@pytest.fixture
def roots(tmp_path):
    (tmp_path / "open" / "deep").mkdir(parents=True)
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "secret.mrc").write_text("secret")
    return Roots([tmp_path / "open"])


@pytest.mark.parametrize("path", ["../closed/secret.mrc", "deep/../../closed", "..", "/etc/passwd"])
def test_a_path_that_leads_out_is_refused_and_the_folders_named(roots, path):
    with pytest.raises(InputError, match=r"lies outside .*/open, where this server may work: start it with --root"):
        roots.inside(roots.folders[0] / path)


def test_somebody_elses_home_is_outside(roots):
    with pytest.raises(InputError, match="~ lies outside"):
        roots.inside("~")


def test_a_link_that_leads_out_is_refused(roots, tmp_path):
    (tmp_path / "open" / "link").symlink_to(tmp_path / "closed")
    with pytest.raises(InputError, match="lies outside"):
        roots.inside(tmp_path / "open" / "link" / "secret.mrc")
    assert roots.inside(tmp_path / "open" / "deep" / ".." / "new.toml") == tmp_path / "open" / "new.toml"


def test_a_folder_whose_name_only_begins_like_an_open_one_is_closed(roots, tmp_path):
    (tmp_path / "open2").mkdir()
    with pytest.raises(InputError, match="lies outside"):
        roots.inside(tmp_path / "open2")


def test_a_root_that_is_no_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere is no folder"):
        Roots([tmp_path / "nowhere"])


async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


def ask(guard, path="/", query="", kind="http", **headers):
    """(status or close code, headers, body) of a request."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request"}

    pairs = [(k.encode(), v.encode()) for k, v in ({"host": "127.0.0.1:8461"} | headers).items()]
    scope = {"type": kind, "path": path, "query_string": query.encode(), "headers": pairs}
    asyncio.run(guard(scope, receive, send))
    first = sent[0]
    if first["type"] == "websocket.close":
        return first["code"], {}, b""
    return first["status"], dict(first.get("headers", [])), sent[-1].get("body", b"")


@pytest.fixture
def let_in():
    """A guard, and the cookie of a browser that used its link."""
    links = []
    access = Access("127.0.0.1", 8461, on_new=links.append)
    guard = Guard(hello, access, {"/slices/": hello})
    status, headers, _ = ask(guard, query=access.url.split("?")[1])
    assert status == 303
    assert headers[b"location"] == b"/"
    assert b"HttpOnly" in headers[b"set-cookie"] and b"SameSite=Strict" in headers[b"set-cookie"]
    assert len(links) == 1
    return guard, headers[b"set-cookie"].decode().split(";")[0], links[0]


def test_the_link_lets_one_browser_in_once_and_the_next_link_another(let_in):
    guard, cookie, link = let_in
    assert ask(guard, cookie=cookie)[0] == 200
    assert ask(guard, "/slices/a/0/1", cookie=cookie)[2] == b"/slices/a/0/1"
    assert ask(guard, kind="websocket", cookie=cookie, origin="http://127.0.0.1:8461")[0] == 200
    assert ask(guard, query=link.split("?")[1])[0] == 303
    status, _, body = ask(guard, query=link.split("?")[1])
    assert status == 403
    assert b"has been used already" in body


@pytest.mark.parametrize("path", ["/", "/annotate", "/slices/a/0/1", "/thumbnails/a", "/_nicegui_ws/socket.io"])
def test_without_the_cookie_every_address_is_closed(let_in, path):
    status, _, body = ask(let_in[0], path)
    assert status == 403
    assert b"has printed in its terminal" in body
    assert ask(let_in[0], path, kind="websocket")[0] == 1008


@given(token=st.text(st.characters(codec="ascii", exclude_characters="&=;#+%"), max_size=60))
def test_no_other_token_opens(token):
    access = Access("127.0.0.1", 8461)
    assert not access.use(token)
    assert ask(Guard(hello, access), query=f"token={token}")[0] == 403


def test_a_page_of_another_name_cannot_speak_for_the_browser(let_in):
    guard, cookie, _ = let_in
    assert ask(guard, cookie=cookie, host="evil.example")[0] == 403
    assert ask(guard, cookie=cookie, origin="http://evil.example")[0] == 403
    assert ask(guard, kind="websocket", cookie=cookie, origin="http://evil.example")[0] == 1008
    assert ask(guard, cookie="etpick-8461=wrong")[0] == 403


def test_an_address_for_all_networks_still_asks_for_the_link():
    access = Access("0.0.0.0", 8461)
    assert access.url.startswith("http://127.0.0.1:8461/")
    assert ask(Guard(hello, access), host="server.lab:8461")[0] == 403
    assert ask(Guard(hello, access), host="server.lab:8461", query=access.url.split("?")[1])[0] == 303
