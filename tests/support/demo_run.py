"""Runs the demo as from a terminal, and reads the acts and tables that it prints."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 240  # for a machine that runs the whole suite at the same time

_GATE_ROW = re.compile(
    r"^ (novice|expert|upset) +(en|de) +"
    r"(?:(\S+) +(\S+) +)?[≥≤] (\S+) +(?:(\d+) +)?(passed|failed|missing) *$",
    re.MULTILINE,
)
_SERVED_ROW = re.compile(r"^ (\S.*?)  +\d+ (.*?)  +(\d+ x .*?) *$", re.MULTILINE)


@dataclass
class Run:
    """One run, kept at its end until Ctrl-C, and the answers of the registry that was kept."""

    text: str = ""
    errors: str = ""
    status: int | None = None
    sign_in: httpx2.Response | None = None
    home: httpx2.Response | None = None
    pages: list = field(default_factory=list)
    servers: list = field(default_factory=list)

    def act(self, title):
        """Return the act whose heading contains `title`, from its heading to the next."""
        acts = re.split(r"^\d+  ", self.text, flags=re.MULTILINE)
        (found,) = [act for act in acts if title in act.partition("\n")[0]]
        return found

    def cells(self, title):
        """Return the rows of an act's table of one demand, by persona and locale."""
        names = ("measured", "bound", "demanded", "n")
        rows = {}
        for persona, locale, *numbers, outcome in _GATE_ROW.findall(self.act(title)):
            known = {name: float(text) for name, text in zip(names, numbers, strict=True) if text}
            rows[persona, locale] = known | {"outcome": outcome}
        assert len(rows) == 6, title
        return rows

    def served(self, title):
        """Return the rows of an act's table of moves: the move, the traffic, users' answers."""
        rows = _SERVED_ROW.findall(self.act(title))
        return [tuple(cell.strip() for cell in row) for row in rows]


def play(temporary):
    """Run `python -m demo --keep` below `temporary`, use its registry, and press Ctrl-C."""
    environment = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    run = Run()
    with (temporary / "errors").open("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "demo", "--keep"],
            cwd=ROOT,
            env=environment | {"TMPDIR": str(temporary)},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        try:
            run.text = "".join(_until_kept(process.stdout))
            if process.poll() is None:
                _use(run)
                os.killpg(process.pid, signal.SIGINT)
            run.text += process.communicate(timeout=TIMEOUT_S)[0]
        finally:
            process.terminate()  # it stops its servers, also after a failure here
            process.wait()
        errors.seek(0)
        run.errors, run.status = errors.read(), process.returncode
    return run


def _until_kept(lines):
    for line in lines:
        yield line
        if "make serve" in line:
            return


def _use(run):
    """Follow the end of the demo: sign in with a token that its command prints, see its pages."""
    address = re.search(r"until Ctrl-C. Its pages are at (\S+)", run.text).group(1)
    command = shlex.split(re.search(r"^ +(grep approver-1 .*)$", run.text, re.MULTILINE).group(1))
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    token = re.search(r'"approver-1": "(\S+)"', printed).group(1)
    with httpx2.Client(trust_env=False, follow_redirects=True) as person:
        run.sign_in = person.get(f"{address}/sign-in")
        shown = re.search(r'name="form_token" value="([^"]+)"', run.sign_in.text).group(1)
        run.home = person.post(f"{address}/sign-in", data={"token": token, "form_token": shown})
        shown = re.findall(rf"^ +({address}/\S+)$", run.text, re.MULTILINE)
        run.pages = [person.get(each) for each in shown]
    known = json.loads(Path(command[-1]).read_text())
    addresses = (known["url"], known["s3"]["endpoint_url"], known["database_url"])
    run.servers = [urlsplit(each) for each in addresses]
