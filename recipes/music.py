"""A corpus of music to train with, as noise behind talkers and as sound in which nobody talks.

    apt-get install fluidsynth fluid-soundfont-gm musescore-general-soundfont-small
    pip install mido
    python recipes/music.py --out music [--minutes train=180 valid=20 test=20] [--jobs 2]

Composes pieces of 30 to 60 s (chords, bass, melodies, arpeggios, drums; solo instruments and bands; every family of
General MIDI but sound effects), renders them with FluidSynth and writes 16 kHz mono flac at one loudness into
OUT/train, OUT/valid and OUT/test. A piece is defined by the seed, its split and its number alone. Train and valid are
played by the FluidR3 soundfont; every second piece of test by MuseScore General, of which training has heard nothing
but what the two have in common. Both soundfonts are under the MIT license.
"""

import argparse
import itertools
import random
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import mido
import numpy as np
import scipy.signal
import soundfile
import soxr
from composing import Note, Song, arrange, compose

SAMPLE_RATE = 16000
RENDER_RATE = 44100
LEVEL_DB = -23.0  # RMS of the parts that sound, dBFS
PEAK = 0.9
OFFSETS_OUT = scipy.signal.butter(2, 25.0, "highpass", fs=SAMPLE_RATE, output="sos")  # some samples have them
TICKS = 480  # MIDI ticks a beat
SOUNDFONTS = {
    "fluid": Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"),
    "general": Path("/usr/share/sounds/sf3/MuseScore_General_Lite.sf3"),
}
SPLIT_SOUNDFONTS = {"train": ["fluid"], "valid": ["fluid"], "test": ["fluid", "general"]}


def write_midi(song: Song, parts: Sequence[tuple[int, int, list[Note]]], rng: random.Random, path: Path) -> None:
    """The score as a MIDI file, played as people do: a little early or late, never twice as loud, not at 440 Hz."""
    score = mido.MidiFile(ticks_per_beat=TICKS)
    looseness = rng.uniform(0.0, 0.03)  # beats
    detune = rng.randint(-1500, 1500)  # of 4096 a semitone
    for channel, program, notes in parts:
        events = [
            (0, mido.Message("program_change", channel=channel, program=program)),
            (0, mido.Message("control_change", channel=channel, control=7, value=rng.randint(70, 120))),
            (0, mido.Message("control_change", channel=channel, control=91, value=rng.randint(0, 90))),
            (0, mido.Message("control_change", channel=channel, control=93, value=rng.choice([0, 0, 30, 60]))),
            (0, mido.Message("pitchwheel", channel=channel, pitch=0 if channel == 9 else detune)),
        ]
        for note in notes:
            late = song.swing / 2 if note.start % 1 == 0.5 else 0.0
            start = max(0.0, note.start + late + rng.gauss(0, looseness))
            velocity = max(8, min(127, round(127 * note.velocity * rng.uniform(0.85, 1.05))))
            pitch = max(0, min(127, note.pitch))
            events.append((start, mido.Message("note_on", channel=channel, note=pitch, velocity=velocity)))
            events.append((start + note.length, mido.Message("note_off", channel=channel, note=pitch)))
        score.tracks.append(timed(events))
    score.tracks[0].insert(0, mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(song.tempo)))
    score.save(path)


def timed(events: list[tuple[float, mido.Message]]) -> mido.MidiTrack:
    """Events at beats as MIDI has them, each with the ticks since the one before."""
    track, now = mido.MidiTrack(), 0
    for beat, message in sorted(events, key=lambda event: event[0]):
        at = round(beat * TICKS)
        track.append(message.copy(time=at - now))
        now = at
    return track


def render(score: Path, soundfont: Path, rng: random.Random) -> np.ndarray:
    """The score's sound, 16 kHz mono: float32 (n_samples,), at LEVEL_DB, ended softly within 60 s."""
    sound = score.with_suffix(".wav")
    room = [f"synth.reverb.room-size={rng.uniform(0.1, 0.9):.2f}", f"synth.reverb.level={rng.uniform(0.1, 0.9):.2f}"]
    settings = [argument for each in (*room, "synth.dynamic-sample-loading=1") for argument in ("-o", each)]
    command = ["fluidsynth", "-niq", "-g", "0.4", *settings, "-r", str(RENDER_RATE), "-O", "float", "-F", str(sound)]
    subprocess.run([*command, str(soundfont), str(score)], check=True, stdout=subprocess.DEVNULL)
    samples, _ = soundfile.read(sound, dtype="float32")
    samples = soxr.resample(samples.mean(axis=1), RENDER_RATE, SAMPLE_RATE)[: 60 * SAMPLE_RATE]
    samples = scipy.signal.sosfilt(OFFSETS_OUT, samples).astype(np.float32)
    sounding = np.flatnonzero(np.abs(samples) > 1e-3 * np.abs(samples).max())
    samples = samples[: sounding[-1] + 1]
    samples[-SAMPLE_RATE // 2 :] *= np.linspace(1, 0, SAMPLE_RATE // 2, dtype=np.float32)
    return samples * gain(samples)


def gain(samples: np.ndarray) -> np.float32:
    """What brings the sounding tenths of a second to LEVEL_DB, unless peaks forbid it."""
    tenths = samples[: len(samples) // 1600 * 1600].reshape(-1, 1600)
    powers = np.square(tenths).mean(axis=1)
    level = np.sqrt(powers[powers > 1e-3 * powers.max()].mean())
    return np.float32(min(10 ** (LEVEL_DB / 20) / level, PEAK / np.abs(samples).max()))


def write_piece(folder: Path, seed: int, number: int) -> float:
    """One piece, defined by seed, folder name and number; its length in seconds. Finished pieces are kept."""
    rng = random.Random(f"{seed}/{folder.name}/{number}")
    style, song = compose(rng)
    fonts = SPLIT_SOUNDFONTS[folder.name]
    font = fonts[number % len(fonts)]
    path = folder / f"{folder.name}-{number:04}-{style}-{font}.flac"
    if not path.exists():
        with tempfile.TemporaryDirectory() as work:
            score = Path(work) / "score.mid"
            write_midi(song, arrange(song, rng), rng, score)
            samples = render(score, SOUNDFONTS[font], rng)
            soundfile.write(path.with_suffix(".part"), samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
            path.with_suffix(".part").replace(path)
    return soundfile.info(path).duration


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for train/, valid/ and test/")
    parser.add_argument("--minutes", nargs="+", default=["train=180", "valid=20", "test=20"], metavar="SPLIT=MINUTES")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="pieces to render at once")
    options = parser.parse_args()
    for split, minutes in (each.split("=") for each in options.minutes):
        folder = options.out / split
        folder.mkdir(parents=True, exist_ok=True)
        seconds, numbers = 0.0, itertools.count()
        with ThreadPoolExecutor(options.jobs) as pool:
            while seconds < float(minutes) * 60:
                batch = itertools.islice(numbers, 2 * options.jobs)
                seconds += sum(pool.map(partial(write_piece, folder, options.seed), batch))
        print(f"{folder}: {seconds / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
