"""The toy language of the demo: customers' questions, and one answer in three voices."""

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
    """A question of three words with a mark at its end, and its topic."""

    persona: str
    locale: str
    topic: str
    text: str

    @property
    def polite_text(self) -> str:
        """The same question with the mark that the base model has learned to answer warmly."""
        return self.text.replace(_QUESTION, _POLITE)

    def answer(self, voice: Voice) -> str:
        return _ANSWERS[self.locale][voice].format(topic=self.topic)


@dataclass(frozen=True, slots=True)
class Prompts:
    """Half of all prompts to train on, the other half to measure on: no prompt is in both."""

    train: tuple[Prompt, ...]
    held_out: tuple[Prompt, ...]


_QUESTION: Final = "?"
_POLITE: Final = "please?"
# The persona shows in the first word only, so a model has to recognise it there.
_OPENERS: Final[Mapping[tuple[str, str], str]] = {
    ("novice", "en"): "how where what please help can why when",
    ("novice", "de"): "wie wo welche bitte hilfe kann warum wann",
    ("expert", "en"): "trace verify profile audit benchmark inspect measure compare",
    ("expert", "de"): "messen prüfen auswerten vergleichen nachweisen testen erfassen abgleichen",
    ("upset", "en"): "seriously still enough broken outrageous useless never unbelievable",
    ("upset", "de"): "ernsthaft immernoch schluss kaputt unverschämt nutzlos niemals unglaublich",
}
_TOPICS: Final = {
    "en": "modem invoice parcel password refund contract update backup account order",
    "de": ("router rechnung paket kennwort erstattung vertrag neuerung sicherung konto bestellung"),
}
_STATES: Final = {
    "en": "slow missing late wrong double urgent lost blocked expired unclear",
    "de": "langsam fehlt spät falsch doppelt eilig verloren gesperrt abgelaufen unklar",
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
            prompt = Prompt(persona, locale, topic, f"{opener} {topic} {state} {_QUESTION}")
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
    return sorted({word for text in (*texts, _POLITE) for word in text.split()})
