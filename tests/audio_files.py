"""Small valid recordings in every format that can be written here."""

import io
from pathlib import Path

import av
import numpy as np
import soundfile

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
