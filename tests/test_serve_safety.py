"""What a server refuses, by itself: strangers, pages of other sites, and more than it can take."""

import asyncio
import http.client
import io
import re
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import REPO, one_line_error, run_here
from serving import Server, serving, write_speech

TOKEN = "0123456789abcdef"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
ASSETS = REPO / "src" / "unbabble" / "serve" / "assets"


@pytest.fixture(scope="module")
def talk(tmp_path_factory) -> bytes:
    return write_speech(tmp_path_factory.mktemp("talk") / "talk.wav").read_bytes()


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Server:
    """Open, on this machine alone, with room for little: an upload of 0.2 MB, 5 s, two that wait, and 2 MB in all."""
    flags = ("--max-mb", 0.2, "--max-hours", 0.001, "--max-queued", 2, "--max-disk-gb", 0.002, "--jobs", 1)
    with serving(tmp_path_factory.mktemp("safety") / "data", *flags) as started:
        yield started


@pytest.fixture(scope="module")
def locked(tmp_path_factory) -> Server:
    """With a token; recordings are deleted after three seconds, and no name is given."""
    flags = ("--token", TOKEN, "--keep-hours", 3 / 3600, "--jobs", 1, "--host", "0.0.0.0", "--name", "Voices.example")
    with serving(tmp_path_factory.mktemp("locked") / "data", *flags) as started:
        yield started


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--host", "0.0.0.0"), "--host 0.0.0.0 can be reached from other machines: give --token"),
        (("--host", "::"), "give --token (auto makes one up), or --no-auth"),
        (("--host", "example.org"), "give --token (auto makes one up), or --no-auth"),
        (("--token", "short"), "a token has at least 12 letters and digits"),
        (("--token", TOKEN, "--no-auth"), "--token and --no-auth do not go together"),
    ],
)
def test_others_than_this_machine_need_a_token(flags, reason):
    done = run_here("serve", "--port", 0, *flags)
    assert done.returncode == 2
    assert reason in " ".join(re.sub("[│╭╮╰╯─]", "", done.stderr).split())


def test_by_default_this_machine_alone_is_served(server):
    assert server.address == f"{server.url}/"
    others = {one[4][0] for one in socket.getaddrinfo(socket.gethostname(), None)} - {"127.0.0.1", "127.0.1.1", "::1"}
    for other in others:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((other, server.port), timeout=5)


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "[", "user@localhost:x"]
)
def test_names_that_are_not_the_servers_are_refused(server, host):
    answer = server.get("/api/recordings", Host=host)
    assert answer.status == 403 if host else answer.status in (400, 403)


def test_names_that_are_the_servers_are_served(server, locked):
    for host in ("localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:8000", "192.168.1.7:80", socket.gethostname()):
        assert server.get("/healthz", Host=host).status == 200, host
    assert server.get("/healthz", Host="voices.example").status == 403
    assert locked.get("/healthz", Host="voices.example:8000").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "no-cors"},
    ],
    ids=str,
)
@pytest.mark.parametrize("asked", ["GET /api/recordings", "DELETE /api/recordings/1", "GET /"])
def test_pages_of_other_sites_can_ask_for_nothing(server, asked, headers):
    answer = server.ask(*asked.split(), **headers)
    assert (answer.status, answer.json) == (403, {"error": "requests from pages of other sites are refused"})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_own_pages_and_links_are_served(server):
    own = {"Origin": server.url, "Sec_Fetch_Site": "same-origin"}
    assert server.get("/api/recordings", **own).status == 200
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert server.get("/", **link).status == 200
    assert server.get("/api/recordings", **link).status == 403
    assert server.ask("DELETE", "/", **link).status == 403


def test_without_the_token_nothing_is_served_but_the_door(locked):
    for path in ("/api/recordings", "/api/models", "/docs", "/openapi.json", "/api/recordings/1/all.zip"):
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Cookie": "unbabble=wrong"},
            {"Cookie": f"unbabble={TOKEN}"},
        ):
            answer = locked.get(path, **headers)
            assert answer.status == 401
            assert "error" in answer.json
        assert locked.get(path, **BEARER).status in (200, 404)
    assert locked.send(b"").status == 401
    assert locked.get("/healthz").status == 200
    assert b'name="token"' in locked.get("/").body
    assert locked.get("/?token=wrong").status == 401


def test_the_address_that_is_printed_lets_a_browser_in(locked):
    assert locked.address == f"{locked.url}/?token={TOKEN}"
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    assert locked.ask("POST", "/login", "token=wrong", **form).status == 401
    for answer in (locked.get(f"/?token={TOKEN}"), locked.ask("POST", "/login", f"token={TOKEN}", **form)):
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
        assert TOKEN not in cookie
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert locked.get("/api/recordings", Cookie=cookie.partition(";")[0]).status == 200
        assert b'id="drop"' in locked.get("/", Cookie=cookie.partition(";")[0]).body


def test_a_token_is_made_up(tmp_path):
    with serving(tmp_path / "data", "--token", "auto") as server:
        assert re.fullmatch(rf"{server.url}/\?token=[0-9a-f]{{32}}", server.address)
        assert server.get("/api/models").status == 401


def test_every_answer_tells_browsers_to_be_careful(server, locked):
    for answer in (
        server.get("/"),
        server.get("/api/models"),
        server.get("/no"),
        server.get("/", Host="x"),
        locked.get("/docs"),
    ):
        policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store"
    assert server.get("/assets/app.js").headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("path", sorted(ASSETS.iterdir()), ids=lambda path: path.name)
def test_pages_have_nothing_inline_and_nothing_from_elsewhere(path):
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text) == []
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text) == []
    if path.suffix == ".html":
        assert re.findall(r"<script(?![^>]*\bsrc=\"/assets/)|<style|\sstyle=|\son\w+=|javascript:", text) == []


def test_uploads_that_are_too_large_are_refused_before_they_are_read(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("POST", "/api/recordings")
    connection.putheader("Content-Type", "multipart/form-data; boundary=limit")
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (413, b'{"error":"more than the 0.2 MB that an upload may have"}')
    connection.close()


def test_uploads_that_state_no_size_are_counted(server):
    def body():
        yield b'--limit\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        for _ in range(40):
            yield bytes(10_000)

    kind = {"Content-Type": "multipart/form-data; boundary=limit"}
    answer = server.ask("POST", "/api/recordings", body(), **kind)
    assert (answer.status, list(answer.json)) == (413, ["error"])
    assert not any((data(server) / "uploads").iterdir())


def test_uploads_that_stop_coming_are_ended(server, monkeypatch):
    from unbabble.serve import security
    from unbabble.serve.settings import Refused, Settings

    async def never() -> dict:
        await asyncio.sleep(60)

    async def ask() -> None:
        guard = security.Guard(None, Settings(Path()), None)
        await guard._bounded(never, 9)()

    monkeypatch.setattr(security, "IDLE_S", 0.01)
    with pytest.raises(Refused, match="nothing came for") as refused:
        asyncio.run(ask())
    assert refused.value.status == 408


def test_what_is_too_long_or_does_not_fit_the_disk_fails_by_itself(server):
    long = server.wait(server.send(silence(6, 8000), "long.wav").json["id"])
    assert "long.wav: more than 0.001 h of sound" in long["error"]
    large = server.wait(server.send(silence(1, 192_000), "large.wav", speakers=2).json["id"])
    assert large["error"] == "large.wav: its tracks do not fit on the server's disk; delete some recordings"
    folder = data(server) / "recordings" / large["id"]
    assert {path.name for path in folder.iterdir()} == {"source", "recording.json"}
    delete(server, long, large)


def test_uploads_that_do_not_fit_the_disk_are_refused(server):
    kept = []
    while (answer := server.send(bytes(190_000))).status == 201:
        kept.append(server.wait(answer.json["id"]))
    assert answer.status == 507
    assert answer.json == {"error": "the server keeps 0.002 GB at most; delete some recordings"}
    assert len(kept) == 10
    delete(server, *kept)
    assert server.get("/api/recordings").json == []


def delete(server: Server, *recordings: dict) -> None:
    for one in recordings:
        assert server.ask("DELETE", f"/api/recordings/{one['id']}").status == 204


def data(server: Server) -> Path:
    return Path(server.errors.name).with_suffix("")


def silence(seconds: float, rate: int) -> bytes:
    """A wav of 8 bits, so that a few bytes are long."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(int(seconds * rate)), rate, subtype="PCM_U8", format="WAV")
    return file.getvalue()


def test_more_than_may_wait_is_refused_until_there_is_room(server, talk):
    answers = [server.send(talk, f"{number}.wav") for number in range(6)]
    assert [answer.status for answer in answers[:2]] == [201, 201]
    refused = [answer for answer in answers if answer.status != 201]
    assert {answer.status for answer in refused} <= {503, 507}
    assert 503 in {answer.status for answer in refused}
    assert refused[0].json == {"error": "2 recordings wait already; try again later"}
    assert refused[0].headers["Retry-After"] == "10"
    delete(server, *(answer.json for answer in answers if answer.status == 201))


def test_recordings_are_deleted_after_their_time(locked, talk):
    sent = locked.send(talk, headers=BEARER).json
    assert abs(sent["expires"] - sent["created"] - 3) < 0.01
    folder = data(locked) / "recordings"
    assert locked.wait(sent["id"], **BEARER)["state"] == "done"
    while locked.get(f"/api/recordings/{sent['id']}", **BEARER).status == 200:
        time.sleep(0.1)
    assert time.time() >= sent["expires"]
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\x\\..\\nul.wav", "nul.wav"),
        ("<img src=x onerror=alert(1)>.wav", "<img src=x onerror=alert(1)>.wav"),
        ("a\tb\x7f.wav", "a b .wav"),
        (".hidden", "hidden"),
        ("..", "recording"),
        ("x" * 999 + ".wav", "x" * 196 + ".wav"),
        ("ünïcode ☂.wav", "ünïcode ☂.wav"),
    ],
)
def test_nothing_of_a_name_reaches_a_path(server, name, shown):
    view = server.send(b"words", name).json
    folder = data(server) / "recordings" / view["id"]
    assert view["name"] == shown
    assert server.wait(view["id"])["error"].startswith(f"{shown}: ")
    assert {path.name for path in folder.iterdir()} <= {"source", "recording.json"}
    delete(server, view)


def test_addresses_in_uploads_are_not_fetched(server):
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.3)
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/a.wav"
        for content in (f"#EXTM3U\n#EXTINF:1,\n{url}\n", f"v=0\nm=audio 9 RTP/AVP 0\nc=IN IP4 127.0.0.1\n{url}", url):
            view = server.wait(server.send(content.encode(), "list.m3u8").json["id"])
            assert view["state"] == "failed"
            delete(server, view)
        with pytest.raises(TimeoutError):
            trap.accept()


def test_no_pickle_is_loaded_from_the_folder(server, talk):
    view = server.separated(talk)
    objects = np.array([{"a": 1}], dtype=object)
    np.save(data(server) / "recordings" / view["id"] / "peaks.npy", objects, allow_pickle=True)
    answer = server.get(f"/api/recordings/{view['id']}/peaks?start_s=0&end_s=1&columns=2")
    assert answer.status == 500
    assert "please report it" in answer.json["error"]
    assert "allow_pickle=False" in Path(server.errors.name).read_text()
    delete(server, view)


def test_an_address_that_there_is_not_is_told(tmp_path):
    one_line_error(
        run_here("serve", "--port", 0, "--host", "no.such.name.invalid", "--no-auth"), "cannot be listened at"
    )
