"""Scores on signals whose answer is known, and against second writings of the metrics."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from unbabble.errors import MissingExtra, ModelError
from unbabble.evaluation import metrics
from unbabble.evaluation.bins import Bins, mean_by_bin, overlap_bins, read_edges
from unbabble.evaluation.metrics import LIMIT_DB, METRICS, columns, installed, score
from unbabble.evaluation.overlap import measured_overlap, talking
from unbabble.evaluation.results import Result
from unbabble.evaluation.summary import mean_of, summarise

RATE = 16000


def waves(*cycles: int) -> np.ndarray:
    """Orthogonal sines of unit power: (waves, 8000)."""
    time = 2 * np.pi * np.arange(8000) / 8000
    return np.stack([np.sqrt(2) * np.sin(one * time) for one in cycles]).astype(np.float32)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("level_db", [3.0, 10.0, 25.0])
def test_scores_of_a_known_error_under_either_permutation(level_db, swapped):
    sources, errors = waves(3, 5), waves(11, 17) * 10 ** (-level_db / 20)
    estimates = sources + errors
    found = score(estimates[::-1].copy() if swapped else estimates, sources, sources.sum(0), 8000)
    assert found["si_sdr"] == pytest.approx(level_db, abs=1e-3)
    assert found["si_sdri"] == pytest.approx(level_db, abs=1e-3)  # the mixture itself has 0 dB


def test_the_mixture_itself_is_no_improvement():
    sources = waves(3, 5) * np.array([[1.0], [0.5]], np.float32)
    mixture = sources.sum(0)
    found = score(np.stack([mixture, mixture]), sources, mixture, 8000)
    assert found["si_sdri"] == pytest.approx(0, abs=1e-4)
    assert found["si_sdr"] == pytest.approx(0, abs=1e-3)  # 6 dB for one, -6 dB for the other


def speech_like(n_signals: int, seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    """Coloured noise that comes and goes: (signals, samples)."""
    rng = np.random.default_rng(seed)
    n_samples = round(seconds * RATE)
    noise = np.cumsum(rng.standard_normal((n_signals, n_samples)), axis=1)
    coloured = noise[:, 16:] - noise[:, :-16]
    swell = 1.1 + np.sin(2 * np.pi * np.outer(3 + np.arange(n_signals), np.arange(n_samples - 16)) / RATE)
    return (0.02 * coloured * swell).astype(np.float32)


def separated(sources: np.ndarray, noise_db: float = -12.0) -> np.ndarray:
    """Estimates with leakage, an echo and noise, of sources (sources, samples)."""
    others = sources.sum(0) - sources
    echo = np.roll(sources, 40, axis=1)
    noise = sources.std() * 10 ** (noise_db / 20) * np.random.default_rng(7).standard_normal(sources.shape)
    return (sources + 0.3 * others + 0.4 * echo + noise).astype(np.float32)


def reference_si_sdr(estimate: np.ndarray, source: np.ndarray) -> float:
    estimate, source = (one.astype(np.float64) - one.mean(dtype=np.float64) for one in (estimate, source))
    target = source * (estimate @ source) / (source @ source)
    return 10 * np.log10((target @ target) / np.square(estimate - target).sum())


def reference_sdr(estimate: np.ndarray, source: np.ndarray, taps: int = 512) -> float:
    """BSS Eval: the estimate projected on the source and its next 511 delays, by its definition."""
    estimate = np.pad(estimate.astype(np.float64), (0, taps - 1))
    padded = np.pad(source.astype(np.float64), (0, taps - 1))
    own = np.correlate(padded, padded, "full")[padded.size - 1 :][:taps]
    cross = np.correlate(estimate, padded, "full")[padded.size - 1 :][:taps]
    target = np.convolve(source, scipy.linalg.solve_toeplitz(own, cross))
    return 10 * np.log10((target @ target) / np.square(estimate - target).sum())


def test_si_sdr_and_sdr_equal_second_writings_of_them():
    sources = speech_like(3, seconds=1.0)
    mixture, estimates = sources.sum(0), separated(sources)[[2, 0, 1]]
    found = score(estimates, sources, mixture, RATE, ("si_sdr", "sdr"))
    for name, reference in (("si_sdr", reference_si_sdr), ("sdr", reference_sdr)):
        true = np.mean([reference(estimates[[1, 2, 0]][one], sources[one]) for one in range(3)])
        before = np.mean([reference(mixture, source) for source in sources])
        assert found[name] == pytest.approx(true, abs=1e-3)
        assert found[f"{name}i"] == pytest.approx(true - before, abs=1e-3)
    assert found["sdr"] > found["si_sdr"]  # the echo is no distortion


@pytest.mark.parametrize("name", ["stoi", "estoi", "pesq"])
def test_stoi_and_pesq_equal_their_packages_and_rank_estimates(name):
    package = pytest.importorskip("pesq" if name == "pesq" else "pystoi")
    sources = speech_like(2)
    good, bad = (separated(sources, noise_db) for noise_db in (-25, 0))
    found = [score(one, sources, sources.sum(0), RATE, (name,))[name] for one in (good, bad)]
    assert found[0] > found[1]
    pairs = zip(good, sources, strict=True)
    if name == "pesq":
        expected = [package.pesq(RATE, source, one, "wb") for one, source in pairs]
    else:
        expected = [package.stoi(source, one, RATE, name == "estoi") for one, source in pairs]
    assert found[0] == pytest.approx(np.mean(expected), abs=1e-6)


@pytest.mark.parametrize("seconds", [0.002, 0.01, 0.02, 0.1])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("name", ["stoi", "estoi", "pesq"])
def test_scores_that_do_not_exist_are_nan(name, rate, seconds):
    pytest.importorskip("pesq" if name == "pesq" else "pystoi")
    short = np.random.default_rng(0).standard_normal((2, round(seconds * rate))).astype(np.float32)
    found = score(short, short, short.sum(0), rate, ("si_sdr", name))
    assert np.isfinite(found["si_sdr"])
    assert np.isnan(found[name])


def test_where_a_source_is_silent_there_is_nothing_to_find():
    short = speech_like(2, seconds=0.1)
    silent = short * np.array([[1], [0]], np.float32)
    for nothing in (silent, short[:0]):
        assert all(np.isnan(value) for value in score(nothing, nothing, short[0], RATE, ("si_sdr", "sdr")).values())


def test_scores_of_perfect_estimates_and_of_none_have_a_limit():
    sources = speech_like(2)
    found = score(sources, sources, sources.sum(0), RATE, ("si_sdr", "sdr"))
    assert found["si_sdr"] == found["sdr"] == LIMIT_DB
    assert score(waves(7, 9), waves(3, 5), waves(3, 5).sum(0), RATE)["si_sdr"] == -LIMIT_DB


# Sources of 6 dB and -6 dB in their mixture: torchmetrics gives silence 0 dB, so that muting would bring 3 dB.
LOUD_AND_SOFT = waves(3, 5) * np.array([[1.0], [0.5]], np.float32)


@pytest.mark.parametrize("metric", ["si_sdr", "sdr"])
@pytest.mark.parametrize("muted", [0, 1])
@pytest.mark.parametrize(
    "rest",
    [
        lambda mixture, noise: 0 * mixture,
        lambda mixture, noise: 0 * mixture + 0.1,
        lambda mixture, noise: 1e-4 * noise,
        lambda mixture, noise: 1e-4 * mixture,
    ],
    ids=["silence", "a constant", "faint noise", "a faint copy"],
)
def test_muting_a_talker_brings_nothing(rest, muted, metric):
    mixture, noise = LOUD_AND_SOFT.sum(0), np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    estimates = np.stack([mixture, rest(mixture, noise)])[[muted, 1 - muted]]
    found = score(estimates, LOUD_AND_SOFT, mixture, 8000, (metric,))
    assert found[f"{metric}i"] == 0
    assert found["overlooked"] == 0.5
    both = score(np.stack([mixture, mixture]), LOUD_AND_SOFT, mixture, 8000, (metric,))
    assert found[metric] == both[metric]
    assert both[f"{metric}i"] == both["overlooked"] == 0


def test_a_faint_copy_of_the_mixture_is_the_mixture():
    mixture = LOUD_AND_SOFT.sum(0)
    found = score(np.stack([mixture, 0.01 * mixture]), LOUD_AND_SOFT, mixture, 8000)
    assert found["si_sdri"] == pytest.approx(0, abs=1e-4)
    assert found["overlooked"] == 0


def test_the_talker_who_was_found_is_paid_for_and_the_other_is_not():
    sources, mixture = LOUD_AND_SOFT, LOUD_AND_SOFT.sum(0)
    half = score(np.stack([0 * mixture, sources[1] + 0.05 * waves(11)[0]]), sources, mixture, 8000)
    assert half["si_sdr"] == pytest.approx((20 - 0 + 6.0206) / 2, abs=1e-3)  # of the loud one: 6 dB in the mixture
    assert half["si_sdri"] == pytest.approx((20 + 6.0206) / 2, abs=1e-3)
    nobody = score(np.zeros((2, 8000), np.float32), sources, mixture, 8000, tuple(METRICS)[:3])
    assert nobody["overlooked"] == 1
    assert nobody["si_sdri"] == nobody["sdri"] == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_estimates_that_are_not_numbers_have_no_scores(value):
    sources = speech_like(2)
    estimates = sources.copy()
    estimates[1, 7] = value
    with pytest.raises(ModelError, match="not numbers"):
        score(estimates, sources, sources.sum(0), RATE, ("si_sdr", "sdr"))
    assert not np.isfinite(METRICS["sdr"].of(estimates, sources, RATE)[1])


def test_metrics_without_their_packages_are_left_out_unless_asked_for(monkeypatch):
    monkeypatch.setattr(metrics, "find_spec", lambda name: None)
    assert installed() == ("si_sdr", "sdr")
    assert installed(["sdr"]) == ("si_sdr", "sdr")
    assert columns(installed()) == ("si_sdr", "si_sdri", "sdr", "sdri", "overlooked")
    with pytest.raises(MissingExtra, match=r'PESQ.*pip install "unbabble\[metrics\]"'):
        installed(["pesq"])


@given(st.floats(0, 1))
def test_every_overlap_has_a_bin(ratio):
    name = overlap_bins().name_of(ratio)
    assert (name == "<25 %") == (ratio < 0.25)
    assert (name == ">75 %") == (ratio >= 0.75)


def test_bins_are_named_by_their_edges_and_refuse_others():
    assert overlap_bins().names == ("<25 %", "25-50 %", "50-75 %", ">75 %")
    assert Bins((0.2, 0.5), "s").names == ("<0.2 s", "0.2-0.5 s", ">0.5 s")
    for edges in ((0.5, 0.25), (0.5, 0.5), (0.0, 0.5), (0.5, 1.0), ()):
        with pytest.raises(ValueError):
            overlap_bins(edges)
    assert read_edges("0.5") == overlap_bins((0.5,))
    with pytest.raises(ValueError, match=r"0\.25,0\.5"):
        read_edges("half")


def test_means_are_by_bin_and_in_order():
    assert mean_by_bin([(0.9, 1.0), (0.1, 2.0), (0.2, 4.0)], overlap_bins()) == {"<25 %": 3.0, ">75 %": 1.0}


def test_an_interval_holds_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(1)
    intervals = [mean_of(5 + 3 * rng.standard_normal(40)) for _ in range(200)]
    assert 0.89 <= np.mean([one.low < 5 < one.high for one in intervals]) <= 0.99
    assert np.mean([one.high - one.low for one in intervals]) == pytest.approx(2 * 1.96 * 3 / 40**0.5, rel=0.1)
    assert mean_of([float("nan")]) is None
    assert mean_of([1.0, float("nan")]).count == 1


def test_results_are_summarised_by_what_is_known():
    def result(number: int, overlap: float, gain: float, t60_s: float = np.nan, genders: str = "") -> Result:
        return Result(str(number), 2, overlap, t60_s, np.nan, genders, {"si_sdr": gain, "si_sdri": gain})

    results = [
        result(0, 0.9, 1.0, 0.25, "same"),
        result(1, 0.1, 5.0, 0.45, "different"),
        result(2, 0.2, 7.0),
        result(3, 0.3, np.nan),
    ]
    overlap, t60, gender = summarise(results, overlap_bins())
    assert [(one.name, one.count) for one in overlap.groups] == [
        ("<25 %", 2),
        ("25-50 %", 1),
        (">75 %", 1),
        ("average", 4),
    ]
    assert [one.scores["si_sdri"].mean for one in overlap.groups if one.scores] == [6.0, 1.0, pytest.approx(13 / 3)]
    assert [one.name for one in t60.groups] == ["0.2-0.3 s", "0.4-0.5 s", "average"]
    assert [one.name for one in gender.groups] == ["same", "different", "average"]


def test_overlap_is_measured_from_where_sources_are_not_silent():
    rng = np.random.default_rng(0)
    sources = np.zeros((2, 4 * RATE), np.float32)
    sources[0, : 2 * RATE] = rng.standard_normal(2 * RATE)
    sources[0, RATE : RATE + RATE // 4] = 0  # a pause too short to count
    sources[1, RATE : 3 * RATE] = rng.standard_normal(2 * RATE)
    assert talking(sources[0], RATE) == ((0, 2 * RATE),)
    assert measured_overlap(sources, RATE) == pytest.approx(0.5, abs=0.01)
    assert measured_overlap(sources[:1], RATE) == 0
    sources[0, RATE // 2 : RATE + RATE // 2] = 1e-4  # under the floor for a second
    assert talking(sources[0], RATE) == ((0, RATE // 2), (RATE + RATE // 2, 2 * RATE))
    assert talking(np.zeros(RATE, np.float32), RATE) == ()
