"""What clients asked for and what they were told; asking again as a client should."""

import random
import time
import uuid
from dataclasses import dataclass, field

import httpx2

GIVES_UP = 0.2  # of the clients that do not know whether their request took effect
ANSWER_TIMEOUT_S = 20
PATIENCE_S = 120


@dataclass
class Operation:
    """Something a client asked for. What it makes in the registry carries its `mark`.

    It was acknowledged (`answer`), or refused, or neither: then it may have taken effect.
    """

    kind: str
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    facts: dict = field(default_factory=dict)
    attempts: int = 0
    answer: dict | None = None
    refused: str | None = None


class GaveUpError(Exception):
    """The client went away without knowing whether its request took effect."""


class Client:
    """Sends an operation, and again with the same key until it gets an answer or gives up."""

    def __init__(self, url, journal):
        self.journal = journal
        self.http = httpx2.Client(base_url=url, timeout=ANSWER_TIMEOUT_S)

    def request(self, *arguments, **named):
        return self.http.request(*arguments, **named)

    def close(self):
        self.http.close()

    def persist(self, operation, send):
        """Return the document that `send` is answered with."""
        self.journal.append(operation)
        self.http.headers["Idempotency-Key"] = operation.mark
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            operation.attempts += 1
            try:
                response = send()
            except httpx2.ConnectError:
                time.sleep(0.1)  # nothing was sent, so nothing is uncertain
                continue
            except httpx2.TransportError:
                pass
            else:
                if is_final(response):
                    return self._told(operation, response)
            if random.random() < GIVES_UP:
                break
            time.sleep(0.2)
        raise GaveUpError

    def _told(self, operation, response):
        if response.is_success:
            operation.answer = response.json()
            return operation.answer
        operation.refused = f"{response.status_code} {response.text[:300]}"
        raise GaveUpError


def is_final(response):
    """Whether an answer says what became of the request."""
    return response.status_code != 503 and "request-in-flight" not in response.text
