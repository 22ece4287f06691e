"""Do what the Dockerfile says without Docker: its instructions, in a folder instead of a container.

    python .ci/container.py

Files are copied, RUN lines run, and the server is started and asked for its health, its page and a separation, as the
image would be. Users and the base image are not made; that there is a user, and a slim base, is checked.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.request import Request, urlopen

REPO = Path(__file__).parent.parent
BOUNDARY = "limit"


def instructions() -> list[tuple[str, str]]:
    """(WORD, the rest) of each, with lines that go on joined and comments left out."""
    text = re.sub(r"\\\n\s*", " ", (REPO / "Dockerfile").read_text(encoding="utf-8"))
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def moved(text: str, root: Path) -> str:
    """Absolute paths of the image, below the folder."""
    return re.sub(r"(?<![\w.])/(src|opt|data)\b", lambda match: f"{root}/{match[1]}", text)


def build(root: Path) -> tuple[dict[str, str], list[str], list[str]]:
    """Do all instructions; gives the environment, the command and the check of its health."""
    environment, command, health = dict[str, str](), list[str](), list[str]()
    folder = root
    for word, rest in instructions():
        if word == "WORKDIR":
            folder = Path(moved(rest, root))
            folder.mkdir(parents=True)
        elif word == "COPY" and not rest.startswith("--from"):
            *sources, target = rest.split()
            for source in sources:
                if (REPO / source).is_dir():
                    shutil.copytree(REPO / source, folder / target, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(REPO / source, folder / target)
        elif word == "RUN" and "useradd" not in rest:
            line = moved(rest, root).replace("python -m", f"{sys.executable} -m")
            subprocess.run(["sh", "-ec", line], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        elif word == "ENV":
            environment |= dict(pair.split("=", 1) for pair in rest.split())
        elif word in ("ENTRYPOINT", "CMD"):
            command += json.loads(moved(rest, root))
        elif word == "HEALTHCHECK":
            health = json.loads(moved(rest[rest.index("CMD ") + 4 :], root))
    return environment, command, health


def check_served(address: str) -> None:
    """The page and its parts are there, and a recording is separated by the model inside."""
    url, token = address.split("/?token=")
    bearer = {"Authorization": f"Bearer {token}"}
    for path in ("/", "/assets/app.js", "/assets/style.css"):
        with urlopen(Request(url + path, headers=bearer), timeout=10) as answer:
            assert answer.status == 200
    sound = (REPO / "examples" / "two-talkers.flac").read_bytes()
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="two.flac"\r\n\r\n'
    body = head.encode() + sound + f"\r\n--{BOUNDARY}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    with urlopen(Request(f"{url}/api/recordings", body, bearer | kind), timeout=10) as answer:
        place = url + answer.headers["Location"]
    while True:
        with urlopen(Request(place, headers=bearer), timeout=10) as answer:
            view = json.load(answer)
        if view["state"] in ("done", "failed"):
            break
    assert len(view["tracks"]) == 2, view


def main() -> None:
    said = dict(instructions())
    assert said["FROM"].endswith("-slim"), "the base is not slim"
    assert said["USER"] not in ("root", "0"), "the user is root"
    root = Path(tempfile.mkdtemp())
    try:
        environment, command, health = build(root)
        shutil.rmtree(root / "src")
        server = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            subprocess.run(health, check=True)
            check_served(address)
        finally:
            server.terminate()
        assert server.wait(30) == 0, "it does not end by SIGTERM"
    finally:
        shutil.rmtree(root)
    print("the Dockerfile's instructions give a server that separates")


if __name__ == "__main__":
    main()
