"""The page of ``unbabble serve`` in a real browser: Chromium, as Debian packages it, driven by Playwright."""

import base64
import io
import re
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import RATE, REPO, run
from serving import Server, serving, write_speech

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium: apt-get install chromium"),
    pytest.mark.skipif(sys.platform == "win32", reason="kills servers as POSIX does"),
]
expect = playwright.expect
FLAGS = [
    "--no-sandbox",  # which containers do not allow
    "--use-fake-device-for-media-stream",  # a microphone that beeps
    "--use-fake-ui-for-media-stream",
]
STATE = "import('/assets/app.js').then(({{current}}) => {})"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def server(folder) -> Server:
    with serving(folder / "data", "--max-mb", 2, "--max-queued", 6) as started:
        yield started


@pytest.fixture(scope="module")
def talk(folder) -> Path:
    return write_speech(folder / "two <b>talkers.wav")


@pytest.fixture(scope="module")
def browser():
    expect.set_options(timeout=60_000)
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def page(browser, server):
    """A page of which nothing goes elsewhere and nothing goes wrong."""
    opened = browser.new_page(base_url=server.url, viewport={"width": 1280, "height": 800}, accept_downloads=True)
    asked, wrong = [], []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda said: wrong.append(said.text) if "Content Security" in said.text else None)
    opened.goto("/")
    expect(opened.locator("#limits")).to_contain_text("2 MB")
    yield opened
    opened.close()
    assert [url for url in asked if not url.startswith((server.url, "blob:"))] == []
    assert wrong == []


def drop(page, *files: Path) -> None:
    """Drop files where they are expected, as a person does: the browser's own event with the browser's own files."""
    contents = [(path.name, base64.b64encode(path.read_bytes()).decode()) for path in files]
    transfer = page.evaluate_handle(
        """(files) => {
            const transfer = new DataTransfer();
            for (const [name, content] of files) {
                const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
                transfer.items.add(new File([bytes], name));
            }
            return transfer;
        }""",
        contents,
    )
    page.dispatch_event("#drop", "dragenter", {"dataTransfer": transfer})
    expect(page.locator("#drop")).to_have_class("drop over")
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def row(page, name: str):
    return page.locator("#recordings li", has=page.get_by_text(name, exact=True)).first


def until(page, expression: str) -> None:
    """Wait for the page; Playwright's own way of waiting needs eval, which the page forbids."""
    for _ in range(600):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"never {expression}")


def wait_for_gains(page, *expected: float) -> None:
    near = f"(gain, lane) => Math.abs(gain - {list(expected)}[lane]) < 0.001"
    until(page, STATE.format(f"current.player.engine.gains.every({near})"))


@pytest.fixture(scope="module")
def view(server, talk) -> dict:
    """A recording that is separated."""
    return server.separated(talk.read_bytes(), "talk.wav")


@pytest.fixture(scope="module")
def by_hand(folder, talk) -> Path:
    done = run("separate", talk, "--out", folder / "out", "-q")
    assert done.returncode == 0, done.stderr
    return next((folder / "out").iterdir())


def test_from_a_drop_to_what_the_command_line_gives(page, talk, by_hand):
    drop(page, talk)
    expect(page.locator("#stage h1:visible")).to_have_text(talk.name)
    expect(page.locator(".lane")).to_have_count(3)
    names = page.locator(".lane .name").evaluate_all("all => all.map(one => one.value)")
    assert names == ["Mixture", "Talker 1", "Talker 2"]
    name = page.get_by_label("Name of Talker 2")
    name.fill("Zoë <i>")
    name.press("Enter")
    expect(page.get_by_role("button", name="Mute Zoë <i>")).to_be_visible()
    for label, file in (("Download Talker 1", "speaker1"), ("Download Zoë <i>", "Zoë _i_")):
        with page.expect_download() as download:
            page.get_by_role("link", name=label).click()
        assert download.value.suggested_filename == f"{file}.wav"
        number = "1" if file == "speaker1" else "2"
        assert Path(download.value.path()).read_bytes() == (by_hand / f"speaker{number}.wav").read_bytes()
    with page.expect_download() as download:
        page.get_by_role("link", name="All tracks").click()
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        assert "two _b_talkers/Zoë _i_.wav" in archive.namelist()
    page.reload()
    expect(page.get_by_label("Name of Zoë <i>")).to_have_value("Zoë <i>")
    assert page.locator("#stage b, #stage .lane i:not(.dot), #recordings b").count() == 0


def test_playing_muting_and_soloing(page, server, view):
    page.goto(f"/#/{view['id']}")
    expect(page.locator(".lane")).to_have_count(3)
    now = page.locator(".now")
    expect(now).to_have_text("0:00.0")
    page.keyboard.press(" ")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(now).to_have_text(re.compile(r"0:00\.[3-9]|0:01\.\d"))
    wait_for_gains(page, 0, 1, 1)
    page.get_by_role("button", name="Mute Talker 1").click()
    wait_for_gains(page, 0, 0, 1)
    page.get_by_role("button", name="Solo Mixture").click()
    wait_for_gains(page, 1, 0, 0)
    page.keyboard.press("0")
    page.keyboard.press("2")
    wait_for_gains(page, 0, 0, 1)
    page.get_by_label("Level of Talker 2").fill("50")
    wait_for_gains(page, 0, 0, 0.25)
    expect(page.locator(".lane.silent")).to_have_count(2)
    expect(page.get_by_role("button", name="Play")).to_be_visible()  # its end
    expect(now).to_have_text("0:03.0")
    page.keyboard.press("Home")
    box = page.locator(".lane:nth-child(2) .wave").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 20)
    expect(now).to_have_text("0:01.5")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("slider", name="Position")).to_have_attribute("aria-valuetext", "0:00.0 of 0:03.0")


def test_a_muted_lane_is_silent_and_all_are_in_step(page, server, view):
    """The page's own mixer and samples, in an OfflineAudioContext: what is heard is the sum of lanes by gain."""
    tracks = [np.frombuffer(server.get(track["url"]).body[-4 * 3 * RATE :], "<f4") for track in view["tracks"]]
    heard = page.evaluate(
        """async ([id, rate, length]) => {
            const { makeMixer, gainsOf } = await import("/assets/mixer.js");
            const { toBuffer } = await import("/assets/engine.js");
            const bytes = await (await fetch(`/api/recordings/${id}/lanes.pcm`)).arrayBuffer();
            const render = async (lanes) => {
                const context = new OfflineAudioContext(1, length, rate);
                const { input, gains } = makeMixer(context, lanes.length);
                gainsOf(lanes).forEach((gain, lane) => { gains[lane].value = gain; });
                const source = context.createBufferSource();
                source.buffer = toBuffer(context, new Int16Array(bytes), lanes.length, rate);
                source.connect(input);
                source.start();
                return [...(await context.startRendering()).getChannelData(0)];
            };
            const lane = { muted: false, solo: false, level: 100 }, muted = { ...lane, muted: true };
            return [
                await render([muted, lane, lane]), await render([lane, { ...lane, solo: true }, lane]),
                await render([muted, muted, muted]),
            ];
        }""",
        [view["id"], RATE, 3 * RATE],
    )
    both, first, none = map(np.asarray, heard)
    np.testing.assert_allclose(both, tracks[0] + tracks[1], atol=1e-4)
    np.testing.assert_allclose(first, tracks[0], atol=1e-4)
    assert not none.any()
    assert np.abs(both).max() > 0.1


def test_zoom_spectrogram_and_colours(page, server, view):
    page.goto(f"/#/{view['id']}")
    expect(page.locator(".lane")).to_have_count(3)
    painted = """(canvas) => new Set(
        new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size"""
    waves = page.locator(".wave")
    until(page, "document.querySelectorAll('.wave')[2].width > 600")
    first = waves.nth(1).screenshot()
    page.get_by_role("button", name="Zoom in").click()
    expect(page.get_by_label("Part that is shown")).to_have_attribute("aria-valuetext", "0:00.0 to 0:01.5")
    page.get_by_label("Part that is shown").fill("1")
    expect(page.locator(".head")).to_be_hidden()
    page.get_by_role("button", name="Show all").click()
    expect(page.get_by_label("Part that is shown")).to_be_hidden()
    until(page, "document.querySelectorAll('.wave')[2].width > 600")
    with page.expect_response("**/spectrogram/speaker1?*"):
        page.get_by_role("button", name="Spectrogram of Talker 1").click()
    page.wait_for_timeout(100)
    assert waves.nth(1).evaluate(painted) > 100  # shades
    assert waves.nth(1).screenshot() != first
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Light or dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_broken_file_and_one_that_is_too_large(page, folder):
    broken, large = folder / "broken.mp3", folder / "large.wav"
    broken.write_bytes(b"words\n" * 99)
    large.write_bytes(bytes(2_100_000))
    drop(page, broken, large)
    expect(row(page, "large.wav")).to_contain_text("2.1 MB, more than the 2 MB that an upload may have")
    expect(row(page, "broken.mp3")).to_contain_text("not audio")
    row(page, "large.wav").get_by_role("button", name="Delete large.wav").click()
    expect(page.get_by_text("large.wav", exact=True)).to_have_count(0)
    remove = row(page, "broken.mp3").get_by_role("button")
    remove.click()
    expect(remove).to_have_text("Delete")
    remove.click()
    expect(page.get_by_text("broken.mp3", exact=True)).to_have_count(0)


def test_what_is_recorded_is_separated(page):
    page.get_by_role("button", name="Record").click()
    expect(page.get_by_role("button", name="Stop 0:01")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    made = page.locator("#recordings li", has_text=re.compile(r"Recording \d{4}-.*\.webm")).first
    expect(made.locator(".row-state")).to_have_text(re.compile(r"\d talkers? · 0:0[1-9]"))
    expect(page.locator(".lane").first).to_be_visible()


def test_twenty_at_once(page, server, folder, talk):
    files = []
    for number in range(20):
        files.append(folder / f"many-{number}.wav")
        samples, _ = soundfile.read(talk)
        soundfile.write(files[-1], samples[: RATE + number], RATE)
    drop(page, *files)
    done = page.locator("#recordings li", has_text="many-").filter(has_text=re.compile("talker"))
    expect(done).to_have_count(20)
    views = [one for one in server.get("/api/recordings").json if one["name"].startswith("many-")]
    assert {view["n_samples"] for view in views} == {RATE + number for number in range(20)}


def test_two_at_once_a_reload_and_a_crash_in_the_middle(browser, tmp_path):
    example, _ = soundfile.read(REPO / "examples" / "two-talkers.flac")
    files = [tmp_path / "first.wav", tmp_path / "second.wav"]
    for file in files:
        soundfile.write(file, np.resize(example, 30 * RATE), RATE)
    server = Server(tmp_path / "data")
    page = browser.new_page(base_url=server.url)
    page.goto("/")
    page.set_input_files("#files", files)
    for file in files:
        expect(row(page, file.name)).to_contain_text(re.compile(r"Separating \d+ %|talkers"))
    page.reload()
    expect(page.locator("#recordings li")).to_have_count(2)
    server.kill()
    expect(page.locator("#said")).to_have_text("The server does not answer; is it running?")
    again = Server(tmp_path / "data", "--port", server.port)
    try:
        for file in files:
            expect(row(page, file.name)).to_contain_text("2 talkers · 0:30")
    finally:
        page.close()
        again.stop()


def test_a_token_is_asked_for(browser, tmp_path):
    with serving(tmp_path / "data", "--token", "0123456789abcdef") as server:
        page = browser.new_page(base_url=server.url)
        page.goto("/")
        page.get_by_label("Token").fill("0123456789abcdef")
        page.get_by_role("button", name="Open").click()
        expect(page.locator("#drop")).to_be_visible()
        assert page.url == f"{server.url}/"
        page.goto("/docs")
        expect(page.get_by_text("/api/models", exact=True)).to_be_visible()
        page.close()


def test_another_site_cannot_send_or_read(browser, server):
    page = browser.new_page()
    page.route("http://evil.example/", lambda route: route.fulfill(body="<h1>hello</h1>", content_type="text/html"))
    page.goto("http://evil.example/")
    before = server.get("/api/recordings").json
    outcome = page.evaluate(
        """async (url) => {
            const form = new FormData();
            form.append("file", new Blob(["words"]), "a.wav");
            const sent = await fetch(`${url}/api/recordings`, { method: "POST", body: form, mode: "no-cors" })
                .then((answer) => answer.type, () => "failed");
            const read = await fetch(`${url}/api/recordings`).then(() => "read", () => "failed");
            return [sent, read];
        }""",
        server.url,
    )
    page.close()
    assert outcome[1] == "failed"
    assert server.get("/api/recordings").json == before
