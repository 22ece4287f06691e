"""The page on which mixtures are heard and seen."""

import re
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
import soundfile

from unbabble.mixing.plan import Noise, Plan, Room, Stretch, Talker
from unbabble.mixing.render import Mixture
from unbabble.sets.page import COLUMNS, power_of
from unbabble.sets.preview import write_preview

RATE = 8000
ROOM = Room((5.0, 4.0, 3.0), 0.3, (1.0, 1.0, 1.0), ((2.0, 1.0, 1.0), (1.0, 3.0, 1.0), (1.0, 1.0, 2.5)))
EMPTY = {"meta", "img"}


class Page(HTMLParser):
    """Elements as (tag, attributes), all text, and the tags that were not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements, self.text, self.open, self.astray = [], "", [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.astray.append(tag)

    def handle_data(self, data):
        self.text += data

    def all(self, tag, **attributes):
        return [found for name, found in self.elements if name == tag and attributes.items() <= found.items()]


def plan(n_talkers: int = 2, seconds: float = 0.5, **facts) -> Plan:
    """Each talker begins a tenth after the one before and talks for half of the time."""
    n_samples = int(seconds * RATE)
    talkers = tuple(
        Talker(
            f"s{number}", (Stretch(f"s{number}/a.wav", 0, n_samples // 2, number * n_samples // 10),), 1.5 * number
        )
        for number in range(n_talkers)
    )
    return Plan(RATE, n_samples, talkers, **facts)


def mixture(plan: Plan) -> Mixture:
    """White noise in place of voices; silence where the plan has no noise."""
    rng = np.random.default_rng(0)
    sources = (0.1 * rng.standard_normal((len(plan.talkers), plan.n_samples))).astype(np.float32)
    noise = (0.01 * bool(plan.noise) * rng.standard_normal(plan.n_samples)).astype(np.float32)
    return Mixture(sources.sum(0) + noise, sources, noise, sources, noise, plan)


@pytest.fixture
def written(tmp_path):
    def write(*mixtures, title="Mixtures"):
        path = tmp_path / "preview.html"
        write_preview(mixtures, path, title)
        return path.read_text(encoding="utf-8")

    return write


@pytest.mark.parametrize("n_talkers", [0, 1, 3])
@pytest.mark.parametrize("noise", [None, Noise("rain.wav", 0, 12.0)])
def test_every_signal_has_a_player_and_a_picture(written, n_talkers, noise):
    page = Page(written(("one", mixture(plan(n_talkers, noise=noise)))))
    n_signals = 1 + n_talkers + bool(noise)
    assert len(page.all("audio")) == len(page.all("img")) == n_signals
    assert all(audio["aria-label"] for audio in page.all("audio"))
    assert all(image["alt"] for image in page.all("img"))
    assert len(page.all("b")) == n_talkers


def test_tags_are_balanced_and_nothing_is_loaded_from_elsewhere(written):
    html = written(*((f"id {number}", mixture(plan(number, noise=Noise("hum.wav", 0, 3.0)))) for number in range(3)))
    page = Page(html)
    assert not page.open
    assert not page.astray
    assert html.startswith("<!DOCTYPE html>")
    assert not re.search(r"https?://|@import|url\(", html)
    sources = [attributes[key] for _, attributes in page.elements for key in ("src", "href") if key in attributes]
    assert all(source.startswith(("data:", "#")) for source in sources)
    targets = {attributes.get("id") for _, attributes in page.elements}
    assert all(link["href"][1:] in targets for link in page.all("a"))


def test_facts_are_told_in_words_and_units(written):
    talkers = (
        Talker("ann", (Stretch("ann/0.flac", 0, 3000, 0),)),
        Talker("bob", (Stretch("bob/1.flac", 0, 3000, 1000),), -2.5, 1.1, 3500.0),
    )
    facts = Plan(RATE, 4000, talkers, Noise("rain.wav", 0, 12.25), ROOM, "early", 3800.0)
    text = " ".join(Page(written(("one", mixture(facts)))).text.split()).translate({0xD7: "x", 0x2212: "-"})
    for fact in (
        "0.50 s at 8 kHz",
        "67 %",
        "SNR 12.2 dB",
        "5.0 x 4.0 x 3.0 m, T60 0.30 s",
        "within 50 ms of the direct sound",
        "3800 Hz, over everything",
        "level +0.0 dB, 1.0 m from the microphone ann/0.flac",
        "level -2.5 dB, 2.0 m from the microphone, speed x 1.10, low pass 3500 Hz bob/1.flac",
        "1.5 m from the microphone rain.wav",
    ):
        assert fact in text


def test_names_are_escaped(written):
    hostile = '<script>alert("&amp;")</script>'
    talker = Talker(hostile, (Stretch(hostile, 0, 1000, 0),))
    page = Page(written((hostile, mixture(Plan(RATE, 4000, (talker,), Noise(hostile, 0, 3.0)))), title=hostile))
    assert len(page.all("script")) == 1
    assert page.text.count(hostile) == 7  # title twice, id, name at bar and player, two recordings


def test_audio_is_the_signal_within_16_bits(written):
    made = mixture(plan(2, noise=Noise("rain.wav", 0, 12.0)))
    players = Page(written(("one", made))).all("audio")
    signals = [made.mixture, *made.sources, made.noise]
    for player, signal in zip(players, signals, strict=True):
        decoded, rate = soundfile.read(BytesIO(b64decode(player["src"].removeprefix("data:audio/flac;base64,"))))
        assert rate == RATE
        np.testing.assert_allclose(decoded, signal, atol=1 / 32768)


def test_spectrogram_shows_where_and_how_high_a_tone_is():
    samples = np.zeros(RATE, np.float32)
    samples[RATE // 2 :] = np.sin(2 * np.pi * 1000 * np.arange(RATE // 2) / RATE)
    power = power_of(samples)
    assert power.shape[1] == COLUMNS
    assert power[:, : COLUMNS // 2 - 20].max() == 0
    assert (power[:, COLUMNS // 2 + 20 :].argmax(0) == (power.shape[0] - 1) // 4).all()


@pytest.mark.parametrize("n_samples", [1, 7, COLUMNS + 1])
def test_very_short_and_silent_mixtures(written, n_samples):
    silent = np.zeros(n_samples, np.float32)
    nobody = Plan(RATE, n_samples, ())
    page = Page(written(("blip", Mixture(silent, silent[None][:0], silent, silent[None][:0], silent, nobody))))
    assert len(page.all("img")) == 1


def test_ten_minutes_take_hardly_more_than_their_audio(written):
    n_samples = 600 * RATE
    turns = tuple(Stretch(f"ann/{turn}.wav", 0, RATE, turn * 4 * RATE) for turn in range(150))
    rng = np.random.default_rng(0)
    sources = np.zeros((1, n_samples), np.float32)
    sources[0, :: RATE // 10] = rng.uniform(-0.9, 0.9, 6000)
    silent = np.zeros(n_samples, np.float32)
    html = written(
        (
            "long",
            Mixture(sources[0], sources, silent, sources, silent, Plan(RATE, n_samples, (Talker("ann", turns),))),
        )
    )
    n_audio = sum(len(player["src"]) for player in Page(html).all("audio"))
    assert len(html) - n_audio < 500_000
