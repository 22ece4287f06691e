"""The page and the HTTP API."""

import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

os.environ.setdefault("FASTAPI_OTEL_AUTO_CONFIGURE", "false")  # from 0.165 on, FastAPI can be told to report

from fastapi import FastAPI, File, Form, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from unbabble import __version__
from unbabble.errors import OutputError, UnbabbleError, in_one_line
from unbabble.serve import downloads, lanes
from unbabble.serve.queue import Queue
from unbabble.serve.security import COOKIE, COOKIE_DAYS, Guard, Token
from unbabble.serve.separating import Models
from unbabble.serve.settings import Refused, Settings
from unbabble.serve.store import PEAKS, Recording, Store
from unbabble.serve.views import (
    ErrorView,
    HealthView,
    NamesView,
    RecordingView,
    ServerView,
    recording_view,
    server_view,
)

ASSETS = Path(__file__).with_name("assets")
MOST_COLUMNS, MOST_ROWS = 4000, 256
LONGEST_TALKER = 80  # characters of a name
RANGE = re.compile(r"bytes=(\d*)-(\d*)")
ABOUT = (
    "Recordings of people talking over each other in, one track per talker out. Errors are JSON, too: "
    '`{"error": "one line"}`. Where the server has a token, send it as `Authorization: Bearer TOKEN`.'
)
MEDIA_TYPES = {".wav": "audio/wav", ".flac": "audio/flac"}
BINARY: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": {}}}}

Start = Annotated[float, Query(ge=0, allow_inf_nan=False, description="Seconds.")]
End = Annotated[float, Query(gt=0, allow_inf_nan=False, description="Seconds.")]
Seconds = Annotated[float | None, Form(gt=0, allow_inf_nan=False, description="As --window-s, --overlap-s.")]
Columns = Annotated[int, Query(ge=1, le=MOST_COLUMNS)]


def make_app(settings: Settings) -> ASGIApp:
    """The application. Raises ModelError, OutputError where models or the folder cannot be used."""
    models, store = Models(settings.models), Store(settings.data, settings.limits)
    tempfile.tempdir = str(store.uploads)  # where uploads wait until they are complete: on the disk that keeps them
    queue = Queue(store, models, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> Any:
        yield
        queue.close()
        store.close()

    app = FastAPI(
        title="unbabble",
        version=__version__,
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses={status: {"model": ErrorView} for status in (401, 403, 404, 422)},
    )
    _add_errors(app)
    _add_pages(app, Token(settings.token))
    _add_recordings(app, settings, models, store, queue)
    _add_results(app, store)
    return Guard(app, settings, store)


def _add_errors(app: FastAPI) -> None:
    """Whatever goes wrong is told in one line of JSON."""

    def refused(_: Request, error: Exception) -> Response:
        status = 507 if isinstance(error, OutputError) else 422
        return _error(getattr(error, "status", status), str(error))

    def failed(_: Request, error: Exception) -> Response:
        logging.getLogger("uvicorn.error").error("unexpected", exc_info=error)
        return _error(500, f"unexpected {type(error).__name__}; the server's log says more; please report it")

    def http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if isinstance(error.__cause__, Refused):  # raised while FastAPI read the body
            return _error(error.__cause__.status, str(error.__cause__))
        words = {404: "nothing here; see /docs", 405: "not a method of this address; see /docs"}
        return _error(error.status_code, words.get(error.status_code, str(error.detail)))

    def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        wrong = (f"{'.'.join(map(str, one['loc'][1:])) or 'the request'}: {one['msg']}" for one in error.errors())
        return _error(422, "; ".join(wrong))

    app.add_exception_handler(UnbabbleError, refused)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, failed)


def _error(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": in_one_line(text)}, status)


def _add_pages(app: FastAPI, token: Token) -> None:
    """The page, the page of the API, and the door in front of them where there is a token."""

    def logged_in(given: str) -> Response:
        if not token.fits(given):
            return FileResponse(ASSETS / "login.html", 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, token.cookie, COOKIE_DAYS * 86400, httponly=True, samesite="strict")
        return answer

    @app.get("/", include_in_schema=False)
    def page(request: Request, token_: Annotated[str, Query(alias="token")] = "") -> Response:
        if token_ and token.text is not None:
            return logged_in(token_)
        return FileResponse(ASSETS / ("index.html" if token.known_to(request.headers) else "login.html"))

    @app.post("/login", include_in_schema=False)
    def login(token_: Annotated[str, Form(alias="token")] = "") -> Response:
        return logged_in(token_)

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return FileResponse(ASSETS / "docs.html")

    @app.get("/favicon.ico", include_in_schema=False)
    def icon() -> Response:
        return FileResponse(ASSETS / "icon.svg")

    app.mount("/assets", StaticFiles(directory=ASSETS), "assets")


def _add_recordings(app: FastAPI, settings: Settings, models: Models, store: Store, queue: Queue) -> None:
    """What is sent, how far it is, and its end."""
    limits = settings.limits

    def view(recording: Recording, whole: bool) -> RecordingView:
        result = store.result(recording.id) if recording.state == "done" else None
        return recording_view(recording, queue.progress(recording), result, limits.keep_hours, whole)

    @app.get("/api/recordings")
    def list_recordings() -> list[RecordingView]:
        """All recordings, the newest first, without their activity."""
        views = []
        for recording in store.all():
            with suppress(Refused, FileNotFoundError):  # it was deleted meanwhile
                views.append(view(recording, whole=False))
        return views

    @app.post(
        "/api/recordings",
        status_code=201,
        responses={status: {"model": ErrorView} for status in (413, 503, 507)},
    )
    def separate(
        response: Response,
        file: Annotated[UploadFile, File(description="Audio or video, as the command line takes it.")],
        model: Annotated[str | None, Form(description="Of /api/models.")] = None,
        speakers: Annotated[str, Form(description="auto, or how many tracks to give.")] = "auto",
        channel: Annotated[str, Form(description="mix, or the number of one channel.")] = "mix",
        format: Annotated[str, Form(description="wav or flac.")] = "wav",
        bits: Annotated[int | None, Form(description="16, 24 or 32 (float) for wav, 24 for flac.")] = None,
        window_s: Seconds = None,
        overlap_s: Seconds = None,
    ) -> RecordingView:
        """Send a recording, which is separated as soon as it is its turn."""
        choices = {"speakers": speakers, "channel": channel, "format": format, "bits": bits}
        options = models.options(model, {**choices, "window_s": window_s, "overlap_s": overlap_s})
        recording = store.add(file.filename or "recording", options, file.file)
        queue.put(recording)
        response.headers["Location"] = f"/api/recordings/{recording.id}"
        return view(recording, whole=True)

    @app.get("/api/recordings/{id}")
    def recording(id: str) -> RecordingView:
        """State and progress; once it is done, its talkers and who talks when."""
        return view(store.get(id), whole=True)

    @app.patch("/api/recordings/{id}")
    def rename(id: str, given: NamesView) -> RecordingView:
        """Name talkers; downloads have these names."""
        result = store.result(id)
        names = dict(result.recording.names)
        for speaker, name in given.names.items():
            if speaker not in result.tracks:
                raise Refused(404, f"no track {speaker[:LONGEST_TALKER]!r}")
            names[speaker] = " ".join("".join(filter(str.isprintable, name)).split())[:LONGEST_TALKER]
        return view(store.update(id, names={speaker: name for speaker, name in names.items() if name}), whole=True)

    @app.delete("/api/recordings/{id}", status_code=204)
    def delete(id: str) -> None:
        """Delete a recording and all that was made of it, at once, whatever its state."""
        queue.remove(id)

    @app.get("/api/models")
    def server() -> ServerView:
        """The models to choose from, and what this server takes."""
        return server_view(models, limits, __version__)

    @app.get("/healthz")
    def health() -> HealthView:
        """Whether the server lives; needs no token."""
        return HealthView(queued=store.waiting(), running=queue.running())


def _add_results(app: FastAPI, store: Store) -> None:
    """What was made of a recording."""

    @app.get("/api/recordings/{id}/tracks/{file}", response_class=FileResponse)
    def track(id: str, file: str) -> Response:
        """A talker's track, as the command line writes it: wav or flac. Ranges can be asked for."""
        result = store.result(id)
        for speaker, path in result.tracks.items():
            if path.name == file:
                name = downloads.track_name(result, speaker)
                return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], filename=name)
        expected = ", ".join(path.name for path in result.tracks.values()) or "none"
        raise Refused(404, f"no track {file[:LONGEST_TALKER]!r}; expected one of: {expected}")

    @app.get("/api/recordings/{id}/all.zip", response_class=StreamingResponse)
    def everything(id: str) -> Response:
        """All tracks, RTTM, labels and separation.json."""
        result = store.result(id)
        return _attached(downloads.zipped(result), "application/zip", downloads.named(result, ".zip"))

    @app.get("/api/recordings/{id}/activity.rttm", response_class=Response)
    def activity_rttm(id: str) -> Response:
        """Who talks when, as RTTM."""
        result = store.result(id)
        return _attached(downloads.activity(result, "rttm"), "text/plain", downloads.named(result, ".rttm"))

    @app.get("/api/recordings/{id}/activity.txt", response_class=Response)
    def activity_labels(id: str) -> Response:
        """Who talks when, as labels for Audacity: start, end and name, apart by tabs."""
        result = store.result(id)
        return _attached(downloads.activity(result, "labels"), "text/plain", downloads.named(result, ".txt"))

    @app.get("/api/recordings/{id}/lanes.pcm", response_class=Response, responses=BINARY)
    def samples(id: str, request: Request) -> Response:
        """The mixture and all tracks in step, for players: interleaved samples, 16 bits, little-endian.

        Ranges can be asked for; a moment is 2 bytes for each lane, the first the mixture's.
        """
        result = store.result(id)
        paths = list(result.lanes.values())
        size = result.summary["n_samples"] * lanes.frame_bytes(paths)
        part = _range(request.headers.get("range"), size)
        start, stop = part or (0, size)
        headers = {"Accept-Ranges": "bytes", "Content-Length": str(stop - start)}
        if part:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        content = lanes.read_bytes(paths, start, stop)
        return StreamingResponse(content, 206 if part else 200, headers, "application/octet-stream")

    @app.get("/api/recordings/{id}/peaks", response_class=Response, responses=BINARY)
    def peaks(id: str, start_s: Start, end_s: End, columns: Columns) -> Response:
        """Waveforms: the least and the largest sample (int16, little-endian) of each lane's every column."""
        _check_span(start_s, end_s)
        found = lanes.read_peaks(store.result(id).folder / PEAKS, start_s, end_s, columns)
        return Response(found.astype("<i2").tobytes(), media_type="application/octet-stream")

    @app.get("/api/recordings/{id}/spectrogram/{lane}", response_class=Response, responses=BINARY)
    def spectrogram(
        id: str,
        lane: str,
        start_s: Start,
        end_s: End,
        columns: Columns,
        rows: Annotated[int, Query(ge=1, le=MOST_ROWS)],
    ) -> Response:
        """Loudness of mixture or speaker1 ...: a byte for each column of each row, the lowest pitch first."""
        _check_span(start_s, end_s)
        paths = store.result(id).lanes
        if lane not in paths:
            raise Refused(404, f"no lane {lane[:LONGEST_TALKER]!r}; expected one of: {', '.join(paths)}")
        found = lanes.spectrogram(paths[lane], start_s, end_s, columns, rows)
        return Response(found.tobytes(), media_type="application/octet-stream")


def _attached(content: str | Iterator[bytes], media_type: str, name: str) -> Response:
    """Something to be saved under a name."""
    answer = (
        Response(content, media_type=media_type)
        if isinstance(content, str)
        else StreamingResponse(content, media_type=media_type)
    )
    answer.headers["Content-Disposition"] = f"attachment; filename*=utf-8''{quote(name)}"
    return answer


def _check_span(start_s: float, end_s: float) -> None:
    if end_s <= start_s:
        raise Refused(422, f"end_s {end_s:g} is not after start_s {start_s:g}")


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """The bytes [start, stop) that are asked for; None where no range is, or one that is not understood."""
    match = RANGE.fullmatch(header.strip()) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= stop:
        raise Refused(416, f"nothing of {size} bytes is in the range")
    return start, stop
