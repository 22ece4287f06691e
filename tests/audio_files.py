"""Small valid recordings in every format that can be written here."""

import io
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile

from unbabble.audio import open_recording, open_stream
from unbabble.errors import AudioError

# What soundfile writes, by its format and subtype.
SOUNDFILE_FORMATS = {
    "16.wav": ("WAV", "PCM_16"),
    "24.wav": ("WAV", "PCM_24"),
    "float.wav": ("WAV", "FLOAT"),
    "double.wav": ("WAV", "DOUBLE"),
    "extensible.wav": ("WAVEX", "PCM_16"),
    "ulaw.wav": ("WAV", "ULAW"),
    "adpcm.wav": ("WAV", "IMA_ADPCM"),
    "gsm.wav": ("WAV", "GSM610"),
    "long.rf64": ("RF64", "PCM_16"),
    "long.w64": ("W64", "PCM_24"),
    "16.flac": ("FLAC", "PCM_16"),
    "24.flac": ("FLAC", "PCM_24"),
    "16.aiff": ("AIFF", "PCM_16"),
    "float.aiff": ("AIFF", "FLOAT"),
    "16.au": ("AU", "PCM_16"),
    "16.caf": ("CAF", "PCM_16"),
    "alac.caf": ("CAF", "ALAC_16"),
    "vorbis.ogg": ("OGG", "VORBIS"),
    "speech.opus": ("OGG", "OPUS"),
    "speech.mp3": ("MP3", "MPEG_LAYER_III"),
}
# What PyAV writes: codecs of sound and of pictures.
PYAV_FORMATS = {
    "aac.m4a": ("aac", None),
    "alac.m4a": ("alac", None),
    "video.mp4": ("aac", "mpeg4"),
    "video.mov": ("pcm_s16le", "mpeg4"),
    "video.mkv": ("libopus", "mpeg4"),
    "pcm.mkv": ("pcm_s16le", None),
    "video.webm": ("libopus", "libvpx"),
    "video.avi": ("libmp3lame", "mpeg4"),
    "video.ts": ("aac", "mpeg2video"),
    "raw.aac": ("aac", None),
    "speech.wma": ("wmav2", None),
    "speech.amr": ("libopencore_amrnb", None),
    "speech.ac3": ("ac3", None),
    "speech.mp2": ("mp2", None),
    "speech.tta": ("tta", None),
}
CONTAINERS = {".aac": "adts", ".ts": "mpegts"}  # where the name alone does not say
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1(wide)", 16: "hexadecagonal"}
RATES_HZ = {"speech.amr": 8000}
LOSSLESS = (
    *("16.wav", "24.wav", "float.wav", "double.wav", "extensible.wav", "long.rf64", "long.w64", "16.flac", "24.flac"),
    *("16.aiff", "float.aiff", "16.au", "16.caf", "alac.caf", "alac.m4a", "video.mov", "pcm.mkv"),
)
EVERY_FORMAT = (*SOUNDFILE_FORMATS, *PYAV_FORMATS)


def encode(target, samples, rate, codec, *, container=None, pictures=None, tags=None, frame_size=1024) -> None:
    """Write a recording by PyAV into a path or a file object, with pictures (of one colour) if asked for.

    samples: (samples,) or (channels, samples).
    """
    layout = LAYOUTS[np.atleast_2d(samples).shape[0]]
    with av.open(str(target) if isinstance(target, Path) else target, "w", format=container) as file:
        file.metadata.update(tags or {})
        video = pictures and file.add_stream(pictures, rate=25)
        stream = file.add_stream(codec, rate=rate, layout=layout)
        if codec == "wmav2":
            stream.bit_rate = 64_000
        if video:
            video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 99, np.uint8), format="rgb24")
            file.mux([*video.encode(frame), *video.encode(None)])
        interleaved = np.ascontiguousarray(np.atleast_2d(samples).T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(interleaved, format="flt", layout=layout)
        frame.sample_rate = rate
        size = stream.codec_context.frame_size or frame_size
        converter = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate, frame_size=size)
        for piece in (*converter.resample(frame), *converter.resample(None)):
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))


def write_format(folder: Path, name: str, samples, rate: int) -> Path:
    """One of EVERY_FORMAT."""
    path = folder / name
    if name in SOUNDFILE_FORMATS:
        kind, subtype = SOUNDFILE_FORMATS[name]
        soundfile.write(path, samples, rate, format=kind, subtype=subtype)
    else:
        codec, pictures = PYAV_FORMATS[name]
        encode(path, samples, rate, codec, container=CONTAINERS.get(path.suffix), pictures=pictures)
    return path


class Unseekable(io.BytesIO):
    """A pipe as a file object."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_) -> int:
        raise io.UnsupportedOperation("a pipe")

    tell = seek


def streamed(samples, rate, codec, container) -> bytes:
    """What a writer makes that cannot go back to the header."""
    pipe = Unseekable()
    encode(pipe, samples, rate, codec, container=container)
    return pipe.getvalue()


# Texts that have FFmpeg open other files or the network, whatever the file is called.
LEADING_ELSEWHERE = {
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    "rtsp": "RTSPtextRTSP://127.0.0.1:9/x\n",
    "concat": "ffconcat version 1.0\nfile '{target}'\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
    "hls,http": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" mediaPresentationDuration="PT1S" '
    'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" type="static"><Period><AdaptationSet mimeType="audio/mp4">'
    '<Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period>'
    "</MPD>",
    "imf": '<?xml version="1.0"?>\n<CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016"/>\n',
}


# Where a container states the size of its samples: name of the chunk, positions behind it, how it is written, what it
# counts beside the samples.
SIZE_FIELDS = {
    "16.wav": (b"data", {4: "<I"}, 0),
    "16.aiff": (b"SSND", {4: ">I"}, 8),
    "16.au": (b".snd", {8: ">I"}, 0),
    "16.caf": (b"data", {4: ">Q"}, 4),
    "long.w64": (b"data", {16: "<Q"}, 24),
    "long.rf64": (b"ds64", {16: "<Q"}, 0),
}
# What recorders state before they know: nothing, or one of these.
STAND_INS = {"<I": (0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0x80000024, 0xFFFFFFDB, 0xFFFFFFFF)}
STAND_INS[">I"] = (0x7F000000, 0x7EFFFFFE, *STAND_INS["<I"])
STAND_INS["<Q"] = STAND_INS[">Q"] = (2**63 - 1, 2**64 - 1)


def restate(path: Path, n_bytes: int | None) -> None:
    """Have the header of one of SIZE_FIELDS state so many bytes of samples; None: 0 in the field itself."""
    chunk, fields, counted = SIZE_FIELDS[path.name]
    data = bytearray(path.read_bytes())
    for offset, written in fields.items():
        size = 0 if n_bytes is None else min(n_bytes + counted, 2 ** (8 * struct.calcsize(written)) - 1)
        struct.pack_into(written, data, data.index(chunk) + offset, size)
    path.write_bytes(data)


def wav(rate=16000, n_channels=1, bits=16, n_bytes=None, samples=b"", align=None, riff=None, tail=b"") -> bytes:
    """A wav whose header says what it is told to: n_bytes of samples, riff of everything."""
    align = n_channels * bits // 8 if align is None else align
    fmt = struct.pack("<HHIIHH", 1, n_channels, rate, rate * align % 2**32, align, bits)
    n_bytes = len(samples) if n_bytes is None else n_bytes
    riff = min(36 + n_bytes, 2**32 - 1) if riff is None else riff
    head = b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt " + struct.pack("<I", 16) + fmt
    return head + b"data" + struct.pack("<I", n_bytes) + samples + tail


def encode_late(path: Path, samples, rate, codec, pictures, delay_s: float) -> None:
    """A video of which the sound begins later than the pictures."""
    samples = np.atleast_2d(samples)
    with av.open(str(path), "w") as file:
        video = file.add_stream(pictures, rate=25)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        stream = file.add_stream(codec, rate=rate, layout="mono")
        for number in range(round(25 * (delay_s + samples.shape[1] / rate))):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 99, np.uint8), format="rgb24")
            frame.pts = number
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(samples, format="flt", layout="mono")
        frame.sample_rate = rate
        size = stream.codec_context.frame_size or 1024
        converter = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate, frame_size=size)
        for number, piece in enumerate((*converter.resample(frame), *converter.resample(None))):
            piece.pts, piece.time_base = round(delay_s * rate) + number * size, Fraction(1, rate)
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))


def repeat_edits(path: Path, times: int) -> None:
    """Have the edit list of an mp4 or mov play everything so many times more."""
    data = path.read_bytes()
    start = data.index(b"elst") + 4
    (count,) = struct.unpack_from(">4xI", data, start)
    end = start + 8 + 12 * count
    more = data[start + 8 : end] * times
    changed = bytearray(data[:end] + more + data[end:])
    struct.pack_into(">I", changed, start + 4, count * (times + 1))
    for box in (b"elst", b"edts", b"trak", b"moov"):
        place = changed.rindex(box, 0, start) - 4
        struct.pack_into(">I", changed, place, struct.unpack_from(">I", changed, place)[0] + len(more))
    path.write_bytes(changed)


def ogg_pages(data: bytes) -> list[bytes]:
    return [b"OggS\0" + page for page in data.split(b"OggS\0")[1:]]


def both(path: Path) -> list:
    """What comes of a file, by its name and through a pipe: the first channel's samples, or why there are none."""
    results: list = []
    for opened in (open_recording(path), open_stream(Unseekable(path.read_bytes()))):
        try:
            with opened as recording:
                results.append(np.concatenate(list(recording.blocks), axis=1)[0])
        except AudioError as error:
            results.append(str(error))
    return results
