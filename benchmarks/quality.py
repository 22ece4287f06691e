"""How well a model separates: every figure of its card, on speakers that it has not heard.

    python benchmarks/quality.py --speech DIR --speech DIR --noise DIR --splits FILE --list FILE --card
    pip install pyannote.metrics    (for the diarization error rate; left out where it is missing)

Prints a table for each part, in dB and fractions, of which those are left out whose files are not given; --json FILE
writes the figures, --card puts them into the model's own card (docs/model-folder.md says what they are):

    paper          fresh mixtures of recipes/paper.yaml: a room, noise, any overlap (--noise)
    replayed       the mixtures of a list of which both talkers are in the split (--list, --noise)
    clean          no room, no noise, both talk all the time
    coded          the paper's mixtures as they are, over a telephone, as MP3 of 32 kbit/s, as Opus of 16 kbit/s
                   (--noise)
    alone          one talker, clean and (--noise) in a room with noise; that room and noise with nobody talking
    music          two talkers over it, and nothing but it (--music, such as recipes/music.py makes)
    conversations  of two, as in benchmarks/stitching.py, clean and (--noise) in rooms with noise

Beside them stand rows of pairs of one sex, two women and two men, and two controls of the scores, which are no
separations: the mixture on both tracks, and the mixture on one and silence on the other. Sexes are taken from the
corpora, from the names of Kokoro's voices (af_, bm_) and from --genders FILE, a JSON {speaker: "f" or "m"}.
Recordings are separated as `unbabble separate` does, in windows and with the bundled diarizer; "network" is what the
network gives for a whole mixture at once, as papers report. Each part is tried in a minute by --only NAME --count 4
(conversations: --count 1 --minutes 0.5). Figures do not depend on --jobs.
"""

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from conversations import STYLES
from figures import Figures, Scores, as_json, by_overlap, means, medians, table, with_known_names
from trials import (
    CONTROLS,
    Mixing,
    Rendered,
    Result,
    Trial,
    WithoutTalkers,
    conversation,
    nobody,
    one_talker,
    own_track_score,
    pair_scores,
    run,
    two_talkers,
)

from unbabble import __version__
from unbabble.base.output import write_whole
from unbabble.corpora.corpus import Corpora, Corpus
from unbabble.corpora.decoded import DecodedAudio
from unbabble.corpora.scan import scan_corpora
from unbabble.errors import UnbabbleError
from unbabble.evaluation.summary import CONFIDENCE
from unbabble.inference.engine import usable_cores
from unbabble.inference.model_folder import CARD, DIARIZER_GRAPH, ModelFolder, open_diarizer, open_model
from unbabble.mixing.mixer import Mixer
from unbabble.mixing.recipe import CodecRecipe, MixtureRecipe, Overlap, TelephoneRecipe, WeightedRecipe, read_mixtures
from unbabble.sets.simulate import listed_plans

Options = argparse.Namespace
Rows = dict[str, Figures]  # by what is heard

PAPER = read_mixtures(Path(__file__).parents[1] / "recipes" / "paper.yaml")[0].recipe
QUIET = replace(PAPER, noise_snr_db=None, room=None)
CLEAN = replace(QUIET, timeline=Overlap(ratios=((1.0, 1.0),)))
OVER_MUSIC = replace(QUIET, noise_snr_db=(0.0, 20.0), noise_minutes_power=0.5)
CODED = {
    "as they are": PAPER,
    "telephone": replace(PAPER, telephone=TelephoneRecipe(1.0)),
    "MP3, 32 kbit/s": replace(PAPER, codec=CodecRecipe(mp3_probability=1.0, mp3_kbps=(32.0, 32.0))),
    "Opus, 16 kbit/s": replace(PAPER, codec=CodecRecipe(opus_probability=1.0, opus_kbps=(16.0, 16.0))),
}
ABOUT = (
    f"Means over recordings with {CONFIDENCE} % bootstrap intervals. dB: si_sdr, si_sdri of the tracks, separated as "
    "unbabble separate does, in windows and with the bundled diarizer; network_si_sdr, network_si_sdri of what the "
    "network gives for a whole mixture at once. Fractions: made_worse, si_sdri under 0; overlooked, "
    "talkers without a track, who are scored as if the mixture were theirs; count_accuracy, as many talkers are "
    "heard as talk."
)


@dataclass(frozen=True)
class Part:
    """A part of the card. count: of recordings, at most, in a row; columns: of its table, names of figures by head;
    needs: options without which it is left out."""

    title: str
    measure: Callable[[int, Options], Rows]
    count: int
    columns: dict[str, str]
    needs: tuple[str, ...] = ()


def main() -> None:
    try:
        measure_all(parse())
    except UnbabbleError as error:
        sys.exit(f"error: {error}")


def measure_all(options: Options) -> None:
    model = open_model(options.model)
    if (model.n_sources, model.sample_rate) != (2, PAPER.sample_rate):
        sys.exit(
            f"model {model.name} gives {model.n_sources} tracks at {model.sample_rate} Hz; expected 2 at 16000 Hz"
        )
    print(f"Model {model.name} {model.version}, split {options.split or 'none'}, seed {options.seed}.")
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        options.cache = options.cache or Path(folder)
        for name in chosen(options):
            part = PARTS[name]
            rows = part.measure(min(part.count, options.count), options)
            print(f"\n**{name}**: {part.title}\n\n{table(rows, part.columns)}", flush=True)
            figures[name] = {"what": part.title, "split": options.split, "seed": options.seed, "rows": rows}
    if options.json:
        write_whole(options.json, as_json(figures).encode())
    if options.card:
        put_into_card(figures, model)


def parse() -> Options:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default", help="a bundled model's name, or a model folder")
    parser.add_argument("--speech", type=Path, action="append", required=True, help="corpus folder or manifest")
    parser.add_argument("--noise", type=Path, action="append", help="folder of noises")
    parser.add_argument("--music", type=Path, action="append", help="folder of music")
    parser.add_argument("--genders", type=Path, help="JSON {speaker: f or m}, of those whose corpus does not say it")
    parser.add_argument("--list", type=Path, help="mixtures to replay (docs/mixture-lists.md)")
    parser.add_argument("--splits", type=Path, help="JSON {split: {corpus: [name, ...]}}; without it all are heard")
    parser.add_argument("--split", default="test")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part to measure; may be repeated")
    parser.add_argument("--count", type=int, default=sys.maxsize, help="recordings in a row, at most")
    parser.add_argument("--minutes", type=float, default=2.0, help="of a conversation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=usable_cores(), help="processes, each of one thread")
    parser.add_argument("--cache", type=Path, help="folder for decoded speech, kept for the next time")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--card", action="store_true", help="put the figures into the model's card")
    options = parser.parse_args()
    if options.count < 1:
        parser.error("--count is at least 1")
    if options.card and not (options.splits and options.noise):
        parser.error("--card needs --splits, as a card is about speakers that the model has not heard, and --noise")
    if len({"all", *(folder.name for folder in options.speech)}) <= len(options.speech):
        parser.error("--speech: rows are named after the folders; give them names that differ, and none the name all")
    options.split = options.split if options.splits else None
    options.genders = read_genders(options.genders, parser)
    return options


def read_genders(path: Path | None, parser: argparse.ArgumentParser) -> dict[str, str]:
    """What --genders names; the program ends where that is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError) as error:
        parser.error(f'--genders: expected JSON such as {{"ann": "f"}}: {error}')


def chosen(options: Options) -> Iterator[str]:
    """The parts asked for, all by default, whose files are given."""
    for name in options.only or PARTS:
        missing = [f"--{need}" for need in PARTS[name].needs if not getattr(options, need)]
        if missing:
            print(f"left out: {name}, which needs {' and '.join(missing)}", file=sys.stderr)
        else:
            yield name


def put_into_card(figures: Figures, model: ModelFolder) -> None:
    """Parts that were not measured now stay as they were."""
    known = {**with_known_names(model.card.get("scores", {})), **figures}
    about = f"{ABOUT} By unbabble {__version__}, diarizer {open_diarizer().checksums[DIARIZER_GRAPH][:12]}."
    scores = {"about": about, **{name: known[name] for name in PARTS if name in known}}
    write_whole(model.path / CARD, as_json({**model.card, "scores": scores}).encode())


def by_speech(recipe: MixtureRecipe, count: int, options: Options) -> Rows:
    """Of all speakers together, and half as many mixtures of each corpus by itself."""
    mixer = mixer_of(recipe, options.speech, options)
    rows = of_pairs("all", mixer, mixer.speech, count, options)
    rows["all"] = {"speakers": len(mixer.speech.names), **rows["all"]}
    for folder in options.speech if len(options.speech) > 1 else ():
        mixer = mixer_of(recipe, [folder], options)
        results = results_of(mixer, two_talkers, max(1, count // 2), options)
        rows[folder.name] = {"speakers": len(mixer.speech.names), **ranges(results)}
    return rows


def replayed(count: int, options: Options) -> Rows:
    """As the list is, and without pairs of one speaker with himself, which published lists have and ours never."""
    everything = scan_corpora(options.speech, options.noise, options.cache)
    plans, render = listed_plans(options.list, everything, in_split(everything, options))
    count, mixing = min(count, len(plans.names)), Rendered(plans.plan_of, render)
    rows = of_pairs(options.list.stem, mixing, everything.speech, count, options)
    speakers = {talker.speaker for number in range(count) for talker in plans.plan_of(number).talkers}
    rows[options.list.stem] = {"speakers": len(speakers), **rows[options.list.stem]}
    return rows


def coded(count: int, options: Options) -> Rows:
    """The mixtures are the same in every row, but for what they come through."""
    mixers = {name: mixer_of(recipe, options.speech, options) for name, recipe in CODED.items()}
    first, *others = CODED
    rows = of_pairs(first, mixers[first], mixers[first].speech, count, options)
    return rows | {name: ranges(results_of(mixers[name], two_talkers, count, options)) for name in others}


def of_pairs(name: str, mixing: Mixing, speech: Corpus, count: int, options: Options) -> Rows:
    """A row of all mixtures, rows of some of them, and rows of the controls."""
    results = results_of(mixing, two_talkers, count, options, pair_scores)
    return with_rows_beside(name, results, speech, options, ranges)


def with_rows_beside(
    name: str, results: list[Result], speech: Corpus, options: Options, average: Callable[[list[Result]], Figures]
) -> Rows:
    genders = {speaker: gender_of(speaker, speech, options) for pair in results for speaker in pair.speakers}
    apart = [one for one in results if len(set(one.speakers)) == len(one.speakers)]
    groups = {name: results, "of two speakers": apart if len(apart) < len(results) else []}
    for row, gender in (("two women", "f"), ("two men", "m")):
        groups[row] = [one for one in apart if {genders[speaker] for speaker in one.speakers} == {gender}]
    for row in CONTROLS:
        groups[row] = [replace(one, scores=one.controls[row]) for one in results]
    return {row: average(members) for row, members in groups.items() if members}


def gender_of(speaker: str, speech: Corpus, options: Options) -> str | None:
    """As --genders says, else the corpus, else the second letter of a name of Kokoro's."""
    said = options.genders.get(speaker) or speech.of(speaker)[0].gender
    of_kokoro = re.match(r"[a-z]([fm])_", speaker)
    return said or (of_kokoro[1] if of_kokoro else None)


def ranges(results: list[Result]) -> Figures:
    return by_overlap([(one.overlap_ratio, one.scores) for one in results])


def averages(results: list[Result]) -> Figures:
    return means([one.scores for one in results])


def alone(count: int, options: Options) -> Rows:
    quiet = mixer_of(replace(QUIET, n_speakers=1), options.speech, options)
    judged = {"one talker, clean": (quiet, one_talker)}
    if options.noise:
        room = mixer_of(replace(PAPER, n_speakers=1), options.speech, options)
        silent = Rendered(WithoutTalkers(room.draw), room.render)
        judged |= {"one talker, room and noise": (room, one_talker), "nobody, room and noise": (silent, nobody)}
    return {
        name: medians([one.scores for one in results_of(mixing, judge, count, options)])
        for name, (mixing, judge) in judged.items()
    }


def music(count: int, options: Options) -> Rows:
    over = mixer_of(OVER_MUSIC, options.speech, options, options.music)
    silent = Rendered(WithoutTalkers(over.draw), over.render)
    rows = of_pairs("two talkers over it", over, over.speech, count, options)
    return rows | {"nothing else": means([one.scores for one in results_of(silent, nobody, count, options)])}


def talks(count: int, options: Options) -> Rows:
    rows: Rows = {}
    talk = {"timeline": STYLES["talk"], "duration_s": options.minutes * 60, "level_db": (-5.0, 5.0)}
    for name, noise in {"clean": None, "rooms and noise": options.noise}.items():
        if name == "clean" or noise:
            mixer = mixer_of(replace(PAPER if noise else QUIET, **talk), options.speech, options)
            of_tracks = None if rows else own_track_score  # beside the first row
            results = results_of(mixer, conversation, count, options, of_tracks)
            beside = with_rows_beside(name, results, mixer.speech, options, averages) if of_tracks else {}
            rows |= beside or {name: averages(results)}
            rows[name] = {"minutes": options.minutes, **rows[name]}
    return rows


def results_of(
    mixing: Mixing,
    judge: Callable[..., Scores],
    count: int,
    options: Options,
    of_tracks: Callable[..., Scores] | None = None,
) -> list[Result]:
    return run(Trial(open_model(options.model).path, mixing, judge, of_tracks), count, options.jobs)


def mixer_of(
    recipe: MixtureRecipe, speech: Sequence[Path], options: Options, noise: Sequence[Path] | None = None
) -> Mixer:
    heard = in_split(scan_corpora(speech, noise or options.noise or [], options.cache), options)
    audio = DecodedAudio(recipe.sample_rate, options.cache)
    return Mixer(heard.speech, heard.noise, (WeightedRecipe(1.0, recipe),), audio, options.seed)


def in_split(everything: Corpora, options: Options) -> Corpora:
    return everything.in_split(options.split, options.splits) if options.splits else everything


TWO_TALKERS = {
    "speakers": "speakers",
    "mixtures": "count",
    "SI-SDR": "si_sdr",
    "SI-SDRi": "si_sdri",
    "network SI-SDR": "network_si_sdr",
    "network SI-SDRi": "network_si_sdri",
    "made worse": "made_worse",
    "overlooked": "overlooked",
    "as many heard as talk": "count_accuracy",
}
ALONE = {
    "recordings": "count",
    "as many heard as talk": "count_accuracy",
    "track": "track_si_sdr",
    "other track": "other_track_below",
}
TALKS = {
    "minutes": "minutes",
    "conversations": "count",
    "on their own track": "on_own_track",
    "DER": "diarization_error_rate",
    "missed": "missed_detection",
    "false alarm": "false_alarm",
    "confusion": "confusion",
}
PARTS = {
    "paper": Part("fresh mixtures of recipes/paper.yaml", partial(by_speech, PAPER), 500, TWO_TALKERS, ("noise",)),
    "replayed": Part("mixtures of a published list", replayed, sys.maxsize, TWO_TALKERS, ("list", "noise")),
    "clean": Part("both talk all the time, no room, no noise", partial(by_speech, CLEAN), 200, TWO_TALKERS),
    "coded": Part("mixtures of recipes/paper.yaml that come through something", coded, 100, TWO_TALKERS, ("noise",)),
    "alone": Part("one talker, and nobody", alone, 100, ALONE),
    "music": Part("music behind the talkers, and alone", music, 100, TWO_TALKERS, ("music",)),
    "conversations": Part("turns, pauses, interruptions", talks, 6, TALKS),
}


if __name__ == "__main__":
    main()
