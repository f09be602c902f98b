"""The clients' operations with their outcomes, and retries as a client should make them."""

import random
import time
import uuid
from dataclasses import dataclass, field

import httpx2

GIVE_UP_PROBABILITY = 0.2  # after a request whose outcome the client does not know
ANSWER_TIMEOUT_S = 20
PATIENCE_S = 120


@dataclass
class Operation:
    """An operation of a client, whose effects in the registry carry its `mark`.

    It was acknowledged (`answer`), refused, or neither; in that case it may have taken effect.
    """

    kind: str
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    facts: dict = field(default_factory=dict)
    attempts: int = 0
    answer: dict | None = None
    refused: str | None = None


class GaveUpError(Exception):
    """The client stopped retrying without knowing whether its request took effect."""


class Client:
    """Sends an operation, retrying with the same key until it gets a response or gives up."""

    def __init__(self, url, journal):
        self.journal = journal
        self.http = httpx2.Client(base_url=url, timeout=ANSWER_TIMEOUT_S)
        self.waits = []
        self.waiting_since = None

    def request(self, *arguments, **named):
        self.waiting_since = begun = time.monotonic()
        try:
            return self.http.request(*arguments, **named)
        finally:
            self.waiting_since = None
            ended = time.monotonic()
            self.waits.append((ended, ended - begun))

    def longest_wait(self, since):
        """Return the longest wait for an answer that ended since then, or has not ended."""
        begun = self.waiting_since
        running = [] if begun is None else [time.monotonic() - begun]
        return max(
            [*running, *(seconds for ended, seconds in self.waits.copy() if ended >= since)],
            default=0,
        )

    def close(self):
        self.http.close()

    def persist(self, operation, send):
        """Return the document of the final response to `send`."""
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
                    return self._outcome(operation, response)
            if random.random() < GIVE_UP_PROBABILITY:
                break
            time.sleep(0.2)
        raise GaveUpError

    def _outcome(self, operation, response):
        if response.is_success:
            operation.answer = response.json()
            return operation.answer
        operation.refused = f"{response.status_code} {response.text[:300]}"
        raise GaveUpError


def is_final(response):
    """Whether a response tells the outcome of the request."""
    return response.status_code != 503 and "request-in-flight" not in response.text
