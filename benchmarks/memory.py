"""Whether memory stays what it is when a recording grows: the program on a minute and on hours, of noise or people.

    python benchmarks/memory.py [--hours 10] [--rate 16000] [--model default] [--threads 2]
    python benchmarks/memory.py --speech DIR --people 2 6 [--hours 10]

Prints the peak resident memory of the whole process, and the time it takes. People talk for half an hour, which is
repeated. POSIX only. Ten hours take some minutes with the bundled model, and up to 20 GB of disk at 16 kHz while they
are separated (--folder says where).
"""

import argparse
import tempfile
from pathlib import Path

import soundfile
from measured import program, run, write_noise

GROWTH_MB, PEAK_MB = 100, 700  # what is promised


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=10)
    parser.add_argument("--rate", type=int, default=16000, help="Hz")
    parser.add_argument("--model", default="default")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--speech", type=Path, help="corpus folder, of whose speakers people are")
    parser.add_argument("--people", type=int, nargs="+", default=[2, 6], help="with --speech: how many talk")
    parser.add_argument("--folder", type=Path, help="where there is room")
    options = parser.parse_args()
    recordings = [("noise, 1 minute", 60.0, 0), (f"noise, {options.hours:g} hours", options.hours * 3600, 0)]
    if options.speech:
        recordings = [(f"{n} people, {options.hours:g} hours", options.hours * 3600, n) for n in options.people]
    print("| audio | peak memory (MB) | taken (s) | of the processor (s) |\n|---|---|---|---|")
    peaks = []
    for name, seconds, n_people in recordings:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            path = Path(folder) / "recording.wav"
            if n_people:
                write_people(path, seconds, n_people, options)
            else:
                write_noise(path, seconds, options.rate)
            more = ("--model", options.model, "--threads", str(options.threads))
            people = ("--speakers", str(n_people)) if n_people else ()
            done = run(program(path, Path(folder) / "tracks", *more, *people))
        if done.code != 0:
            raise SystemExit(f"the program failed on {name}: {done.errors}")
        peaks.append(done.peak_mb)
        print(f"| {name} | {done.peak_mb:.0f} | {done.wall_s:.1f} | {done.cpu_s:.1f} |", flush=True)
    kept = peaks[1] - peaks[0] <= GROWTH_MB and max(peaks) <= PEAK_MB
    print(f"\nPromised: at most {GROWTH_MB} MB more, {PEAK_MB} MB in all: {'kept' if kept else 'BROKEN'}.")


def write_people(path: Path, seconds: float, n_people: int, options: argparse.Namespace) -> None:
    """A conversation of half an hour, again and again."""
    from unbabble.corpora.decoded import DecodedAudio
    from unbabble.corpora.scan import scan_corpora
    from unbabble.mixing.mixer import Mixer
    from unbabble.mixing.recipe import Conversation, MixtureRecipe, WeightedRecipe

    recipe = MixtureRecipe(
        sample_rate=options.rate,
        duration_s=min(seconds, 1800.0),
        timeline=Conversation(),
        n_speakers=n_people,
        noise_snr_db=None,
        room=None,
    )
    corpus = scan_corpora([options.speech], []).speech
    talk = Mixer(corpus, None, (WeightedRecipe(1.0, recipe),), DecodedAudio(options.rate))(0).mixture
    with soundfile.SoundFile(path, "w", options.rate, 1, "PCM_16") as file:
        for _ in range(round(seconds * options.rate / talk.size)):
            file.write(talk)


if __name__ == "__main__":
    main()
