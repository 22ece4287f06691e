"""The command that serves a page and an HTTP API."""

import ipaddress
import secrets
from pathlib import Path
from typing import Annotated

import typer

from unbabble.cli.screen import Screen
from unbabble.errors import MissingExtra

LOCAL = "127.0.0.1"
SHORTEST_TOKEN = 12  # characters


def serve(
    host: Annotated[str, typer.Option(help="Address to listen at; others than this machine's need --token.")] = LOCAL,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(envvar="UNBABBLE_TOKEN", help="What clients must know; auto makes one up and shows it."),
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Serve whoever can reach --host, who sees all recordings.")
    ] = False,
    name: Annotated[
        list[str] | None, typer.Option(help="Name by which browsers call this server; may be repeated.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder for recordings; by default where this system keeps a user's data.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A bundled model's name, or a model folder; several may be given, to choose from."),
    ] = None,
    diarizer: Annotated[
        str, typer.Option(help="Network that finds who talks when: a bundled one's name, or a folder.")
    ] = "diarizer",
    jobs: Annotated[int, typer.Option(min=1, help="Recordings separated at the same time.")] = 2,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads of each job; all by default.")] = None,
    max_mb: Annotated[float, typer.Option(min=0.001, help="How large an upload may be.")] = 2000,
    max_hours: Annotated[float, typer.Option(min=0.001, help="How long a recording may be.")] = 6,
    max_queued: Annotated[int, typer.Option(min=1, help="Recordings that may wait.")] = 100,
    max_disk_gb: Annotated[float, typer.Option(min=0.001, help="What all recordings may take of the disk.")] = 50,
    keep_hours: Annotated[float, typer.Option(min=0.0001, help="After which a recording is deleted.")] = 24,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No notices.")] = False,
) -> None:
    """Serve a page to separate recordings in, and an HTTP API.

    Prints its address, and opens nothing. Ctrl-C ends it; what it was at is done after the next start.
    """
    if token is None and not no_auth and not _is_local(host):
        raise typer.BadParameter(
            f"--host {host} can be reached from other machines: give --token (auto makes one up), or --no-auth"
        )
    if token is not None and no_auth:
        raise typer.BadParameter("--token and --no-auth do not go together")
    if token is not None and token != "auto" and (len(token) < SHORTEST_TOKEN or not token.isalnum()):
        raise typer.BadParameter(f"a token has at least {SHORTEST_TOKEN} letters and digits; auto makes one up")
    try:
        from unbabble.serve.server import serve as serve_at
        from unbabble.serve.settings import Limits, Settings, data_folder
    except ModuleNotFoundError as error:
        raise MissingExtra(f"unbabble serve ({error.name})", "web") from error
    settings = Settings(
        data=(data or data_folder()).absolute(),
        models=tuple(model or ["default"]),
        diarizer=diarizer,
        jobs=jobs,
        threads=threads,
        token=secrets.token_hex(16) if token == "auto" else token,
        host_names=(host, *(name or ())),
        limits=Limits(max_mb, max_hours, max_queued, max_disk_gb, keep_hours),
    )
    screen = Screen(quiet)

    def ready(address: str) -> None:
        print(address, flush=True)
        if not settings.token and not _is_local(host):
            screen.notice("whoever reaches this address hears and deletes all recordings (--no-auth)")
        screen.notice(f"recordings are kept in {settings.data} for {keep_hours:g} h; Ctrl-C ends the server")

    serve_at(settings, host, port, ready)


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
