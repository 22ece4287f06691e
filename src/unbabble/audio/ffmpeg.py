"""Everything else: FFmpeg's decoders by PyAV, from a file or a pipe.

Only the sound is decoded: no codec of pictures ever runs. Nothing that a file names is opened: neither other files
(playlists) nor the network (session descriptions, which bind ports by themselves).
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.plane import AudioPlane
from av.error import FFmpegError, InvalidDataError

from unbabble.audio.recording import BLOCK, Recording, Samples, cut_short, known_tags
from unbabble.audio.source import FileSource, PipeSource
from unbabble.errors import AudioError

FFMPEG_ERRORS = (FFmpegError, OSError, ValueError, EOFError)
# Containers whose headers state the length; others are guessed from the bit rate.
STATING = frozenset(
    {"wav", "w64", "flac", "aiff", "au", "caf", "tta", "wv", "ape", "avi", "asf", "matroska,webm", "mp3"}
    | {"mov,mp4,m4a,3gp,3g2,mj2"}
)
# Containers of recordings: none that leads elsewhere (sdp, rtsp, hls, dash, concat), no pictures, no games.
FORMATS = (
    "aac,ac3,ac4,act,aiff,amr,amrnb,amrwb,ape,asf,ast,au,avi,caf,dsf,dss,dts,dtshd,dv,eac3,flac,flv,gsm,gxf,iff,ircam,"
    "loas,matroska,mlp,mmf,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nsv,nut,ogg,oma,paf,pvf,qcp,rm,rso,sbc,sds,shn,"
    "sox,spdif,svs,tak,truehd,tta,voc,vqf,w64,wav,wsd,wtv,wv,wve,xwma"
)
MATROSKA_DURATION = re.compile(r"(\d{1,6}):(\d{1,2}):(\d{1,2}(?:\.\d{1,12})?)")
SAMPLE_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
# What may stand behind the last frame: tags of several kinds, and zeros of disks that keep whole blocks.
NO_SOUND = re.compile(rb"(?:TAG|ID3|APETAGEX|LYRICSBEGIN).*|\0+", re.DOTALL)
GATHERED = 1 << 13  # samples of all channels together, before they are passed on
CHECKED = ("flac", "tta")  # codecs with checksums, which FFmpeg passes over unless it is told
OF_ONE_SIZE = ("mp2", "mp2float", "mp3float", "ac3", "eac3")  # codecs whose frames often are, but for a few bytes
PADDING = 4
OF_PACKETS = ("flv", "mpeg", "mpegts")  # containers that state the size of each; in others the last may be any
NEVER_ZEROS = ("amrnb", "amrwb", "libopencore_amrnb", "libopencore_amrwb")  # codecs whose frames have a bit set
SLACK_S = {"asf": 0.5, "flac": 0.0, "tta": 0.0}  # what encoders add or leave out at the ends; of the others:
USUAL_SLACK_S = 0.1


def open_ffmpeg(source: FileSource | PipeSource, name: str, stack: ExitStack, sndfile_said: str = "") -> Recording:
    """Open whatever FFmpeg recognises. Raises AudioError, which begins with ``name``.

    sndfile_said: why libsndfile could not read it.
    """
    try:
        container = stack.enter_context(_container(source))
    except FFMPEG_ERRORS:
        raise _not_audio(source, name, sndfile_said) from None
    if not container.streams.audio:
        raise AudioError(f"{name}: holds no sound, or is cut short; expected a recording; choose another file")
    stream = container.streams.best("audio") or container.streams.audio[0]
    if stream.codec_context is None:
        raise AudioError(f"{name}: no decoder for its kind of sound; expected a usual one; convert it to wav first")
    if stream.codec_context.name in CHECKED:
        stream.codec_context.options = {"err_detect": "crccheck+explode"}
    duration_s, of_stream = _duration_s(container, stream)
    kind, header = container.format.name, source.header
    if header.repairs and (isinstance(source, PipeSource) or kind == "aiff"):  # which states it twice
        duration_s = None
    declared = int(duration_s * stream.rate) if duration_s is not None and of_stream else 0
    if kind == "mp3":  # of which FFmpeg guesses
        declared = source.mp3_samples or 0
        duration_s = declared / stream.rate if declared else duration_s
    elif header.sound is not None:  # whose bytes are counted; an avi's length has the time before the sound in it
        declared = 0
    slack = int(SLACK_S.get(kind, USUAL_SLACK_S) * stream.rate)
    blocks = _gathered(_samples(container, stream, declared, slack, source, name))
    tags = known_tags({**container.metadata, **stream.metadata})
    return Recording(stream.rate, stream.channels, duration_s, _whole(blocks, source, name), tags)


def count_packets(path: Path) -> float:
    """Seconds of sound, without decoding it. Raises AudioError."""
    try:
        with path.open("rb") as file, _container(FileSource(file, str(path))) as container:
            stream = container.streams.audio[0]
            ticks = sum(packet.duration or 0 for packet in container.demux(stream))
            return float((ticks - max(stream.start_time or 0, 0)) * (stream.time_base or 0))
    except FFMPEG_ERRORS as error:
        raise AudioError(f"{path}: damaged ({error}); copy or download it again") from None


def _container(file: Any) -> Any:
    options = {
        "codec_whitelist": _audio_decoders(),
        "format_whitelist": FORMATS,
        "protocol_whitelist": "none",  # of FFmpeg's own: what PyAV reads from is no protocol
    }
    return av.open(file, mode="r", options=options, metadata_errors="replace", io_open=_refuse)


def _samples(
    container: Any, stream: Any, declared: int, slack: int, source: FileSource | PipeSource, name: str
) -> Iterator[Samples]:
    """Frame by frame (channels, samples); declared: how many samples there should be, but for ``slack`` of them."""
    rate, n_channels, n_read = stream.rate, stream.channels, 0
    try:
        for frame in _frames(container, stream, name):
            samples = _as_floats(frame)
            if frame.sample_rate != rate or len(samples) != n_channels:
                found = f"{frame.sample_rate} Hz and {len(samples)} channels after {rate} Hz and {n_channels}"
                raise cut_short(name, f"its format changes: {found}")
            n_read += samples.shape[1]
            yield samples
    except FFMPEG_ERRORS as error:
        if not 0 < declared <= n_read:  # what follows the last sample may be anything
            reason = getattr(error, "strerror", None) or str(error)
            if n_read == 0 and isinstance(source, PipeSource):  # such as mp4 with its index at the end
                raise _not_audio(source, name, reason) from None
            raise cut_short(name, f"decoding failed after {n_read} samples: {reason}") from None
    if n_read < declared - slack:
        raise cut_short(name, f"{n_read} of {declared} samples are there")


def _frames(container: Any, stream: Any, name: str) -> Iterator[av.AudioFrame]:
    """Frame by frame, but for what stands behind the last without being sound."""
    codec, behind, usual, n_short, size = stream.codec_context.name, False, 0, 0, 0
    of_one_size = codec in OF_ONE_SIZE and (container.format.name, codec) != ("mp3", "mp3float")  # these end anywhere
    for packet in _packets(container, stream, name):
        data = bytes(packet)
        if of_one_size and data and not NO_SOUND.fullmatch(data):
            size = len(data)
            usual = usual or size
            n_short += size < usual - PADDING
            if NO_SOUND.fullmatch(data[usual:]):  # which no parser cuts off
                packet = av.Packet(data[:usual])
        try:
            frames = stream.codec_context.decode(packet)
        except InvalidDataError:
            if not NO_SOUND.fullmatch(data):
                raise
            frames, behind = [], True
        if data and codec in NEVER_ZEROS and not any(data):
            frames, behind = [], True
        if behind and frames:
            raise cut_short(name, "in its middle stands what is no sound")
        yield from frames
    if n_short == 1 and size < usual - PADDING:
        raise cut_short(name, f"of its last frame {size} of {usual} bytes are there")


def _packets(container: Any, stream: Any, name: str) -> Iterator[Any]:
    packets, of_packets = container.demux(stream), container.format.name in OF_PACKETS
    while True:
        try:
            packet = next(packets)
        except (StopIteration, BlockingIOError):  # the latter in a transport stream with something else behind it
            return
        if of_packets and packet.is_corrupt:
            raise cut_short(name, "its container tells of a gap")
        yield packet


def _gathered(frames: Iterator[Samples]) -> Iterator[Samples]:
    """Frames, short ones joined (to pass one on takes as long as to decode it), long ones divided."""
    waiting: list[Samples] = []
    for frame in frames:
        waiting.append(frame)
        if sum(each.size for each in waiting) >= GATHERED:
            yield from _divided(np.concatenate(waiting, axis=1))
            waiting = []
    if waiting:
        yield from _divided(np.concatenate(waiting, axis=1))


def _divided(samples: Samples) -> Iterator[Samples]:
    size = max(1, BLOCK // len(samples))
    return (samples[:, start : start + size] for start in range(0, samples.shape[1], size))


def _whole(blocks: Iterator[Samples], source: FileSource | PipeSource, name: str) -> Iterator[Samples]:
    """Pass blocks on; what a pipe promised and did not bring as AudioError."""
    yield from blocks
    if isinstance(source, PipeSource):
        source.check_end(name)


def _not_audio(source: FileSource | PipeSource, name: str, reason: str) -> AudioError:
    expected = "expected wav, flac, mp3, ogg, m4a, mp4 or the like"
    if not isinstance(source, PipeSource):
        because = f" ({reason})" if reason else ""
        return AudioError(
            f"{name}: not audio that can be decoded, or cut short{because}; {expected}; copy it again or convert it"
        )
    if source.n_bytes == 0:
        return AudioError(f"{name}: nothing came; {expected}; check the program before the pipe")
    return AudioError(
        f"{name}: not audio that can be decoded from a pipe, or cut short; {expected}; "
        "give the name of a file instead, or have ffmpeg write wav into the pipe"
    )


def _as_floats(frame: av.AudioFrame) -> Samples:
    """Any of FFmpeg's sample formats as (channels, samples) float32 of full scale 1.

    PyAV's own to_ndarray reads beyond the end of the planes of 8 channels or more, and crashes.
    """
    dtype, n_channels = SAMPLE_TYPES[frame.format.name.rstrip("p")], frame.layout.nb_channels
    planar = frame.format.is_planar
    planes: list[Any] = [AudioPlane(frame, index) for index in range(n_channels if planar else 1)]
    if planar:
        data = np.stack([np.frombuffer(plane, dtype, frame.samples) for plane in planes])
    else:
        data = np.frombuffer(planes[0], dtype, frame.samples * n_channels).reshape(-1, n_channels).T
    if dtype == "f4":
        return np.array(data)
    with np.errstate(all="ignore"):  # doubles beyond float32 become infinite, which is told later
        samples = data.astype(np.float32)
    if dtype == "f8":
        return samples
    if dtype == "u1":
        return (samples - 128) / np.float32(128)
    return samples / np.float32(2.0 ** (8 * data.dtype.itemsize - 1))


def _duration_s(container: Any, stream: Any) -> tuple[float | None, bool]:
    """How long the sound is as far as anything tells, and whether its header states that of this very stream."""
    stated = container.format.name in STATING
    written = MATROSKA_DURATION.fullmatch(stream.metadata.get("DURATION", ""))
    if container.format.name == "caf" and stream.frames and stream.codec_context.name.startswith("pcm_"):
        duration_s = stream.frames / (stream.rate or 1)  # the other is cut to what is there
    elif stream.duration is not None and stream.time_base is not None:
        duration_s = float(stream.duration * stream.time_base)
    elif written:
        hours, minutes, seconds = map(float, written.groups())
        begins_s = float((stream.start_time or 0) * (stream.time_base or 0))
        duration_s = 3600 * hours + 60 * minutes + seconds - begins_s  # which is when it ends
    elif container.duration is not None:
        duration_s = container.duration / av.time_base
        stated = stated and len(container.streams) == 1
    else:
        return None, False
    return duration_s, stated


@cache
def _audio_decoders() -> str:
    """Names of all decoders of sound."""
    decoders = []
    for name in av.codecs_available:
        try:
            codec = av.Codec(name, "r")
        except av.codec.codec.UnknownCodecError:  # an encoder only
            continue
        if codec.type == "audio":
            decoders.append(name)
    return ",".join(decoders)


def _refuse(url: str, flags: int, options: dict[str, str]) -> None:
    raise PermissionError(f"would open {url}")
