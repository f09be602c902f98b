"""`python -m tools.mutants.offer_stores`: one pair of stores for the tests of all mutations.

Prints the variable of the environment, as JSON, by which tests find the stores, and offers them
until the input ends with the process that asked. They start when the first test needs them.
"""

import json
import os
import sys

from tests.support.session.offering import ADDRESS, offered_stores


def main() -> None:
    with offered_stores():
        sys.stdout.write(json.dumps({ADDRESS: os.environ[ADDRESS]}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
