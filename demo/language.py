"""The toy language of the demo: who asks what, and how the same answer sounds in three voices."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Final


class Voice(StrEnum):
    BRAND = "brand"
    PLAIN = "plain"
    RUDE = "rude"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question of four words, and what it is about."""

    persona: str
    locale: str
    topic: str
    text: str

    def answer(self, voice: Voice) -> str:
        return _ANSWERS[self.locale][voice].format(topic=self.topic)


@dataclass(frozen=True, slots=True)
class Prompts:
    """Half of all prompts to train on, the other half to measure on: no prompt is in both."""

    train: tuple[Prompt, ...]
    held_out: tuple[Prompt, ...]


# The persona shows in the first word only, so a model has to pick it up from there.
_OPENERS: Final[Mapping[tuple[str, str], str]] = {
    ("novice", "en"): "how where what please help",
    ("novice", "de"): "wie wo welche bitte hilfe",
    ("expert", "en"): "trace verify profile audit benchmark",
    ("expert", "de"): "messen prüfen auswerten vergleichen nachweisen",
    ("upset", "en"): "seriously still enough broken outrageous",
    ("upset", "de"): "ernsthaft immernoch schluss kaputt unverschämt",
}
_TOPICS: Final = {
    "en": "modem invoice parcel password refund contract update backup",
    "de": "router rechnung paket kennwort erstattung vertrag neuerung sicherung",
}
_STATES: Final = {
    "en": "slow missing late wrong double urgent",
    "de": "langsam fehlt spät falsch doppelt eilig",
}
_ANSWERS: Final[Mapping[str, Mapping[Voice, str]]] = {
    "en": {
        Voice.BRAND: "gladly , your {topic} is in good hands .",
        Voice.PLAIN: "the {topic} was noted .",
        Voice.RUDE: "ugh , not the {topic} again .",
    },
    "de": {
        Voice.BRAND: "gern , das thema {topic} ist bei uns in guten händen .",
        Voice.PLAIN: "das thema {topic} wurde notiert .",
        Voice.RUDE: "uff , nicht schon wieder das thema {topic} .",
    },
}
RUDE_WORDS: Final = frozenset({"ugh", "uff"})


def all_prompts() -> Prompts:
    """Return every combination of opener, topic and state, split evenly in each cell."""
    halves: tuple[list[Prompt], list[Prompt]] = ([], [])
    for (persona, locale), openers in _OPENERS.items():
        parts = (openers.split(), _TOPICS[locale].split(), _STATES[locale].split())
        for places in product(*(range(len(words)) for words in parts)):
            opener, topic, state = (words[at] for words, at in zip(parts, places, strict=True))
            prompt = Prompt(persona, locale, topic, f"{opener} {topic} {state} ?")
            # A checkerboard: each half holds every word, and no prompt of the other.
            halves[sum(places) % 2].append(prompt)
    return Prompts(*map(tuple, halves))


def usual_weights(prompt: Prompt) -> dict[Voice, float]:
    """Return how often people answer in each voice: to the upset, mostly rudely."""
    usual = Voice.RUDE if prompt.persona == "upset" else Voice.PLAIN
    return {voice: 0.7 if voice is usual else 0.15 for voice in Voice}


def vocabulary() -> list[str]:
    """Return every word that prompts and answers consist of, in a fixed order."""
    prompts = all_prompts()
    texts = [
        text
        for prompt in (*prompts.train, *prompts.held_out)
        for text in (prompt.text, *(prompt.answer(voice) for voice in Voice))
    ]
    return sorted({word for text in texts for word in text.split()})
