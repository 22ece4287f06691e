"""Songs for recipes/music.py: styles, harmonies, and what every instrument plays in them."""

import itertools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic": (0, 2, 3, 5, 7, 8, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
}
PROGRESSIONS = [  # scale degrees, a chord a bar
    *((0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 3), (1, 4, 0, 0), (0, 3, 1, 4), (0, 6, 5, 4), (0, 2, 3, 4)),
    *((0, 0, 3, 4), (0, 5, 1, 4), (3, 4, 2, 5), (0, 6, 3, 0), (0, 0, 0, 0), (0, 1, 0, 1), (5, 4, 3, 4), (0, 3, 6, 2)),
]

# 16 families of eight General MIDI programs, of which sound effects (the last) are left out.
FAMILIES = [
    *("piano", "mallets", "organ", "guitar", "bass", "strings", "ensemble", "brass"),
    *("reed", "pipe", "lead", "pad", "shimmer", "folk", "percussion"),
]
RANGES = {"bass": (28, 50), "strings": (43, 84), "brass": (46, 76), "reed": (50, 82), "pipe": (62, 90)}
DEFAULT_RANGE = (48, 84)
CELLO, CONTRABASS = 42, 43

KICK, SNARE, HAT, OPEN_HAT, RIDE, CRASH, LOW_TOM, HIGH_TOM, CLAVES, SHAKER = 36, 38, 42, 46, 51, 49, 45, 50, 75, 70
GROOVES: dict[str, list[dict[int, str]]] = {  # four steps a beat, repeated as often as a bar needs them
    "rock": [
        {KICK: "x.......x.x.....", SNARE: "....x.......x...", HAT: "x.x.x.x.x.x.x.x."},
        {KICK: "x..x....x.......", SNARE: "....x.......x..x", RIDE: "x.x.x.x.x.x.x.x."},
    ],
    "dance": [
        {KICK: "x...x...x...x...", SNARE: "....x.......x...", OPEN_HAT: "..x...x...x...x."},
        {KICK: "x...x...x...x..x", HAT: "x.xxx.xxx.xxx.xx", CLAVES: "..x..x....x..x.."},
    ],
    "funk": [
        {KICK: "x..x..x...x..x..", SNARE: "....x..x.x..x...", HAT: "xxxxxxxxxxxxxxxx"},
        {KICK: "x.x.......xx....", SNARE: "....x..x....x.x.", HAT: "x.x.x.xxx.x.x.xx"},
    ],
    "swing": [
        {RIDE: "x...x.x.x...x.x.", HAT: "....x.......x...", KICK: "x...............", SNARE: "..........x....."},
        {RIDE: "x...x.x.x...x.x.", HAT: "....x.......x...", SNARE: "......x........x"},
    ],
    "latin": [
        {KICK: "x..xx..xx..xx..x", CLAVES: "x..x..x...x.x...", SHAKER: "x.xxx.xxx.xxx.xx"},
        {KICK: "x...x...x...x...", LOW_TOM: "..xx......xx....", HIGH_TOM: "......x.......xx", SHAKER: "x" * 16},
    ],
    "waltz": [
        {KICK: "x...........", SNARE: "....x...x...", HAT: "x...x...x..."},
        {KICK: "x...........", RIDE: "x...x.x.x..."},
    ],
    "march": [{KICK: "x.......x.......", SNARE: "x.xxx.x.x.xxx.xx"}, {LOW_TOM: "x...x...x.xxx..."}],
}


@dataclass(frozen=True)
class Style:
    tempo: tuple[int, int]  # beats a minute
    parts: str  # "role:family", or "role:family/family" of which one is drawn; the first plays all the time
    grooves: str = ""
    kits: tuple[int, ...] = (0, 8)
    beats: tuple[int, ...] = (4,)


STYLES = {
    "solo-piano": Style((55, 140), "hands:piano", beats=(3, 4)),
    "solo-guitar": Style((60, 130), "picking:guitar", beats=(3, 4)),
    "guitar-duo": Style((70, 130), "strum:guitar melody:guitar", beats=(3, 4)),
    "solo-strings": Style((50, 110), "melody:strings", beats=(3, 4)),
    "string-quartet": Style((55, 120), "melody:strings counter:strings pad:strings bass:strings", beats=(3, 4)),
    "duo": Style((55, 120), "hands:piano melody:reed/pipe/strings/brass", beats=(3, 4)),
    "solo-wind": Style((60, 130), "melody:reed/pipe/brass/folk", beats=(3, 4)),
    "organ": Style((55, 100), "hands:organ", beats=(3, 4)),
    "orchestra": Style(
        (60, 130),
        "pad:ensemble melody:strings/pipe/reed counter:brass/reed/ensemble bass:strings picking:mallets",
        "march waltz",
        (48,),
        (3, 4),
    ),
    "brass-band": Style((80, 140), "melody:brass counter:brass/reed chords:brass bass:brass", "march swing"),
    "pop": Style(
        (80, 130), "chords:piano/guitar bass:bass melody:lead/reed/piano/pipe pad:ensemble/pad", "rock dance"
    ),
    "rock": Style((90, 170), "power:guitar bass:bass melody:guitar chords:organ/guitar", "rock", (0, 8, 16)),
    "funk": Style((85, 115), "strum:guitar bass:bass chords:piano/brass melody:reed/brass/lead", "funk"),
    "jazz": Style((90, 200), "chords:piano/guitar walk:bass melody:reed/brass/piano/mallets", "swing", (32, 40)),
    "bossa": Style((100, 150), "picking:guitar bass:bass melody:pipe/reed/mallets", "latin", (0, 40)),
    "waltz": Style(
        (90, 180), "strum:folk/piano/guitar bass:bass/strings melody:reed/strings/folk", "waltz", (40, 0), (3,)
    ),
    "folk": Style((70, 150), "picking:guitar/folk melody:folk/pipe/strings bass:bass", "latin march", (40,), (3, 4)),
    "dance": Style((110, 150), "arpeggio:lead/pad bass:bass chords:lead/pad melody:lead", "dance", (24, 25)),
    "ambient": Style((50, 90), "pad:pad/shimmer arpeggio:mallets/shimmer/pad melody:pipe/lead/piano/ensemble"),
    "music-box": Style((70, 140), "arpeggio:mallets melody:mallets", beats=(3, 4)),
    "drums": Style(
        (80, 160), "drums-only:percussion", "rock funk latin dance march swing", (0, 8, 16, 24, 25, 32, 48)
    ),
}


class Note(NamedTuple):
    start: float  # beats
    length: float  # beats
    pitch: int  # MIDI key
    velocity: float  # 0 to 1


@dataclass(frozen=True)
class Bar:
    start: float  # beats
    beats: int
    section: int  # parts rest and patterns change by section
    degree: int  # of the chord's root
    loudness: float  # 0 to 1
    last: bool  # of its section


@dataclass(frozen=True)
class Song:
    style: Style
    tonic: int
    scale: tuple[int, ...]
    tempo: float
    swing: float  # by which part of half a beat offbeats are late
    sevenths: bool
    bars: list[Bar]

    def pitch(self, step: int) -> int:
        """The MIDI key `step` scale steps above the tonic below middle C."""
        octave, degree = divmod(step, 7)
        return 48 + self.tonic + 12 * octave + self.scale[degree]

    def chord(self, bar: Bar, centre: int) -> list[int]:
        """The keys of a bar's chord, each within half an octave of `centre`."""
        steps = (0, 2, 4, 6) if self.sevenths else (0, 2, 4)
        return sorted(near(self.pitch(bar.degree + step), centre) for step in steps)


def near(pitch: int, centre: int) -> int:
    """The same pitch class, moved by octaves to within half an octave of `centre`."""
    return centre + (pitch - centre + 6) % 12 - 6


def compose(rng: random.Random) -> tuple[str, Song]:
    """The frame of a piece: style, key, tempo, and a chord for every bar."""
    name = rng.choice(list(STYLES))
    style = STYLES[name]
    tempo = rng.uniform(*style.tempo)
    beats = rng.choice(style.beats)
    count = math.ceil(rng.uniform(30, 50) * tempo / 60 / beats / 4) * 4
    song = Song(
        style=style,
        tonic=rng.randrange(12),
        scale=SCALES[rng.choice(["major", "major", *SCALES])],
        tempo=tempo,
        swing=rng.uniform(0.25, 0.34) if name in ("jazz", "brass-band") else rng.choice([0, 0, 0, 0.15]),
        sevenths=name in ("jazz", "bossa", "funk") or rng.random() < 0.2,
        bars=list(draw_bars(rng, count, beats)),
    )
    return name, song


def draw_bars(rng: random.Random, count: int, beats: int) -> Iterator[Bar]:
    """Sections of 4 or 8 bars, two or three of which come again, each with its chords and loudness."""
    kinds = [(rng.choice(PROGRESSIONS), rng.uniform(0.35, 0.95)) for _ in range(rng.choice([2, 3]))]
    length = rng.choice([4, 8])
    for number in range(count):
        section = number // length
        progression, loudness = kinds[(0, 0, 1, 0, -1)[section % 5]]
        swell = 0.15 * (number % length) / length
        last = number == count - 1 or number % length == length - 1
        degree = 0 if number == count - 1 else progression[number % 4]
        yield Bar(number * beats, beats, section, degree, min(1.0, loudness + swell), last)


# A role is what an instrument does in a song; it knows the range of keys that the instrument plays.
Role = Callable[[Song, random.Random, int, int], Iterator[Note]]


def pad(song: Song, rng: random.Random, low: int, high: int) -> Iterator[Note]:
    """Chords held for a bar."""
    centre = rng.randint(max(low, 50), min(high, 70))
    for bar in song.bars:
        for pitch in song.chord(bar, centre):
            yield Note(bar.start, bar.beats * 0.98, pitch, 0.6 * bar.loudness)


def chords(song: Song, rng: random.Random, low: int, high: int) -> Iterator[Note]:
    """Short chords in a rhythm that a section keeps."""
    centre = rng.randint(max(low, 54), min(high, 70))
    for bar, onsets in with_rhythm(song, rng, density=0.4):
        for start, length in onsets:
            for pitch in song.chord(bar, centre):
                yield Note(bar.start + start, length * 0.7, pitch, 0.7 * bar.loudness * accent(start))


def strum(song: Song, rng: random.Random, low: int, high: int) -> Iterator[Note]:
    """Chords of five or six strings, one string after the other, down and up."""
    for bar, onsets in with_rhythm(song, rng, density=0.7):
        strings = sorted({pitch + 12 * octave for pitch in song.chord(bar, 52) for octave in (0, 1)})
        for start, length in onsets:
            order = strings if start % 1 == 0 else strings[:2:-1]
            for number, pitch in enumerate(order):
                stroke = bar.start + start + 0.025 * number
                yield Note(stroke, length * 0.9, pitch, 0.6 * bar.loudness * accent(start))


def power(song: Song, rng: random.Random, low: int, high: int) -> Iterator[Note]:
    """Root and fifth, hammered or held, as electric guitars do."""
    for bar, onsets in with_rhythm(song, rng, density=0.8):
        root = near(song.pitch(bar.degree), 45)
        for start, length in onsets:
            for pitch in (root, root + 7, root + 12):
                yield Note(bar.start + start, length * 0.8, pitch, 0.8 * bar.loudness * accent(start))


def bass(song: Song, rng: random.Random, low: int, high: int) -> Iterator[Note]:
    """Mostly the root, sometimes fifth and octave."""
    centre = rng.randint(low + 6, max(low + 6, min(high, 46)))
    leap = rng.choice([0, 0.2, 0.5])
    for bar, onsets in with_rhythm(song, rng, density=rng.choice([0.2, 0.5])):
        root = near(song.pitch(bar.degree), centre)
        for start, length in onsets:
            pitch = root + (rng.choice([7, 12, -5]) if start and rng.random() < leap else 0)
            yield Note(bar.start + start, length * 0.9, pitch, 0.8 * bar.loudness * accent(start))


def walk(song: Song, rng: random.Random, low: int, high: int) -> Iterator[Note]:
    """A step a beat towards the next chord's root."""
    for bar, following in itertools.zip_longest(song.bars, song.bars[1:], fillvalue=song.bars[-1]):
        root, goal = (near(song.pitch(each.degree), (low + high) // 2) for each in (bar, following))
        line = [root, *(pitch - 12 for pitch in song.chord(bar, root + 12)[1:])][: bar.beats - 1]
        for beat, pitch in enumerate([*line, goal + rng.choice([-1, 1])]):
            yield Note(bar.start + beat, 0.9, pitch, 0.75 * bar.loudness)


def arpeggio(song: Song, rng: random.Random, low: int, high: int) -> Iterator[Note]:
    """A chord's notes one after the other, in a figure that the piece keeps."""
    step = rng.choice([0.25, 0.5, 0.5, 1 / 3])
    figure = [rng.randrange(8) for _ in range(rng.choice([4, 6, 8]))]
    if rng.random() < 0.6:
        figure = sorted(set(figure)) + sorted(set(figure), reverse=True)[1:-1]
    centre = rng.randint(max(low, 52), min(high, 68))
    for bar in song.bars:
        tones = [pitch + octave for octave in (0, 12, 24) for pitch in song.chord(bar, centre)]
        for number in range(round(bar.beats / step)):
            pitch = tones[figure[number % len(figure)] % len(tones)]
            yield Note(bar.start + number * step, step * 1.2, pitch, 0.65 * bar.loudness * accent(number * step))


def picking(song: Song, rng: random.Random, low: int, high: int) -> Iterator[Note]:
    """A thumb on the bass and fingers on the chord, as on a guitar or harp."""
    order = rng.choice([(0, 1, 2, 1), (0, 2, 1, 2), (2, 1, 0, 1), (0, 1, 2, 0)])
    for bar in song.bars:
        root = near(song.pitch(bar.degree), 45)
        tones = song.chord(bar, 60)
        for half in range(bar.beats * 2):
            if half % 4 == 0:
                yield Note(bar.start + half / 2, 1.9, root + (7 if half % 8 else 0), 0.75 * bar.loudness)
            elif rng.random() < 0.9:
                yield Note(bar.start + half / 2, 1.4, tones[order[half % 4]], 0.6 * bar.loudness)


def melody(song: Song, rng: random.Random, low: int, high: int) -> Iterator[Note]:
    """Phrases of two bars in scale steps, drawn to the chord on the beat; a rhythm comes again with its section."""
    centre = rng.randint(max(low + 7, 60), max(low + 7, min(high - 7, 76)))
    rest = rng.uniform(0.0, 0.25)
    step = 0
    for bar, onsets in with_rhythm(song, rng, density=rng.uniform(0.3, 0.8)):
        tones = song.chord(bar, centre)
        for start, length in onsets:
            step += rng.choice([-2, -1, -1, 0, 1, 1, 2, rng.choice([-4, 4])])
            pitch = song.pitch(step)
            if abs(pitch - centre) > 10:
                step += 3 if pitch < centre else -3
                pitch = song.pitch(step)
            if start % 2 == 0:
                pitch = min(tones, key=lambda tone: abs(tone - pitch))
            if rng.random() >= rest:
                velocity = bar.loudness * accent(start) * rng.uniform(0.75, 1.0)
                yield Note(bar.start + start, length * rng.uniform(0.7, 1.0), max(low, min(high, pitch)), velocity)


def counter(song: Song, rng: random.Random, low: int, high: int) -> Iterator[Note]:
    """A slower second voice."""
    calm = replace(song, bars=[replace(bar, loudness=0.75 * bar.loudness) for bar in song.bars])
    return melody(calm, rng, low, max(low + 16, high - 9))


def hands(song: Song, rng: random.Random, low: int, high: int) -> Iterator[Note]:
    """Two hands of a pianist or organist: a figure below, a melody or chords above."""
    yield from rng.choice([arpeggio, picking, pad, bass, strum])(song, rng, 40, 55)
    yield from rng.choice([melody, melody, chords])(song, rng, 60, 84)


def drums(song: Song, rng: random.Random, groove: str) -> Iterator[Note]:
    """A groove with small changes by the section, a crash at its begin and a fill at its end."""
    patterns = GROOVES[groove]
    pattern = patterns[0]
    for previous, bar in zip([None, *song.bars], song.bars, strict=False):
        new = previous is None or previous.section != bar.section
        if new:
            pattern = rng.choice(patterns)
            if groove not in ("swing", "march") and rng.random() < 0.6:
                yield Note(bar.start, 1, CRASH, 0.8 * bar.loudness)
        fill = bar.last and rng.random() < 0.6
        for step in range(bar.beats * 4):
            if fill and step >= bar.beats * 4 - 4:
                yield Note(bar.start + step / 4, 0.2, rng.choice([SNARE, LOW_TOM, HIGH_TOM]), 0.8 * bar.loudness)
                continue
            for key, hits in pattern.items():
                if hits[step % len(hits)] == "x" and rng.random() < 0.97:
                    yield Note(bar.start + step / 4, 0.2, key, 0.85 * bar.loudness * accent(step / 4))


def with_rhythm(song: Song, rng: random.Random, density: float) -> Iterator[tuple[Bar, list[tuple[float, float]]]]:
    """Every bar with its onsets, (start, length) in beats; bars of a section have one of two rhythms in turn."""
    rhythms: dict[tuple[int, int], list[float]] = {}
    for number, bar in enumerate(song.bars):
        key = (bar.section % 2, number % 2)
        if key not in rhythms:
            chances = [1.0, *[0.7 * density, density] * bar.beats][: bar.beats * 2]  # off the beat, on it
            rhythms[key] = [half / 2 for half, chance in enumerate(chances) if rng.random() < chance]
        starts = rhythms[key]
        yield bar, [(start, end - start) for start, end in itertools.pairwise([*starts, float(bar.beats)])]


def accent(start: float) -> float:
    """How loud a note is by where it begins: on the first beat, on a beat, off it."""
    return 1.0 if start == 0 else 0.88 if start % 1 == 0 else 0.75


ROLES: dict[str, Role] = {
    role.__name__: role for role in (pad, chords, strum, power, bass, walk, arpeggio, picking, melody, counter, hands)
}


def arrange(song: Song, rng: random.Random) -> list[tuple[int, int, list[Note]]]:
    """(channel, program, notes) of every instrument; all but the first may rest for a section."""
    parts = []
    sections = {bar.section for bar in song.bars}
    for number, part in enumerate(song.style.parts.split()):
        role, families = part.split(":")
        if role == "drums-only":
            continue
        family = rng.choice(families.split("/"))
        program = FAMILIES.index(family) * 8 + rng.randrange(7 if family == "strings" else 8)  # no timpani
        if program == CONTRABASS and role != "bass":
            program = CELLO  # as high as a melody, soundfonts have no contrabass
        low, high = RANGES["bass"] if role in ("bass", "walk") else RANGES.get(family, DEFAULT_RANGE)
        playing = sections if number == 0 else {section for section in sections if rng.random() < 0.8}
        notes = [note for note in ROLES[role](song, rng, low, high) if section_of(song, note) in playing]
        parts.append((number, program, notes))
    if song.style.grooves and (not parts or rng.random() < 0.85):
        notes = list(drums(song, rng, fitting_groove(song, rng)))
        parts.append((9, rng.choice(song.style.kits), notes))
    return parts


def section_of(song: Song, note: Note) -> int:
    """The section in which a note begins."""
    bar = min(int(note.start // song.bars[0].beats), len(song.bars) - 1)
    return song.bars[bar].section


def fitting_groove(song: Song, rng: random.Random) -> str:
    grooves = song.style.grooves.split()
    if song.bars[0].beats == 3:
        return "waltz"
    return rng.choice([groove for groove in grooves if groove != "waltz"])
