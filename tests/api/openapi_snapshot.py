"""The committed OpenAPI document, from which clients are generated."""

import json
from functools import cache
from pathlib import Path

from app.http.deps import Parts
from app.main import app_of

SNAPSHOT = Path(__file__).with_name("openapi.json")


@cache
def document():
    """Return the OpenAPI document without starting a server."""
    return app_of(Parts(*[None] * len(Parts.__slots__))).openapi()


def rendered():
    return json.dumps(document(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main():
    SNAPSHOT.write_text(rendered())


if __name__ == "__main__":
    main()
