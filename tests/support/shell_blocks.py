"""Run the shell blocks of a page, in order and in one shell."""

import re
import subprocess


def shell_blocks(page):
    """Return the text of all ```sh blocks of a page."""
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE))


def run_in_shell(script, *, folder):
    """Run a script until its first failure; return its output and errors."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout
