# SPDX-License-Identifier: Apache-2.0
"""Documents of plain facts: a table of domains, each with records and phrasings."""

from __future__ import annotations

import dataclasses
import functools
import random
import re

from . import fact_data as data
from .dice import Dice
from .words import article, number, ordinal, upper_first
from .world import MONTHS, PEOPLE, best_friend

Record = tuple[str, ...]

# How often a document of facts ends after its third sentence, and after each later one.
STOP = 0.13


@dataclasses.dataclass(frozen=True)
class Domain:
    name: str
    records: tuple[Record, ...]
    templates: tuple[str, ...]  # whole sentences, {0}, {1}, ... are the fields
    asks: tuple[tuple[str, int], ...] = ()  # question and the field that answers it
    weight: float = 1.0

    @functools.cached_property
    def follower(self) -> tuple[int, ...]:
        """A fixed cycle through the records: what usually comes after each one."""
        order = list(range(len(self.records)))
        random.Random("cycle " + self.name).shuffle(order)
        after = [0] * len(order)
        for here, there in zip(order, order[1:] + order[:1]):
            after[here] = there
        return tuple(after)


def _next_in(items: list[str] | tuple[str, ...]) -> list[Record]:
    return [(items[i], items[(i + 1) % len(items)]) for i in range(len(items))]


def _sums() -> list[Record]:
    return [(number(a), number(b), number(a + b)) for a in range(1, 21) for b in range(1, 21)]


def _differences() -> list[Record]:
    return [(number(a), number(b), number(a - b)) for a in range(2, 31) for b in range(1, min(a, 13))]


def _products() -> list[Record]:
    return [(number(a), number(b), number(a * b)) for a in range(2, 13) for b in range(2, 13)]


def _counting() -> list[Record]:
    made = []
    for step in range(1, 8):
        for start in range(1, 11):
            terms = ", ".join(number(start + step * i) for i in range(6))
            made.append((number(step), number(start), terms, number(start + step * 6)))
    return made


def _people() -> list[Record]:
    return [(p.name, p.home, article(p.job), p.pet, p.pet_name, p.food, p.colour,
             f"the {ordinal(p.birth_day)} of {p.birth_month}", best_friend(p).name,
             upper_first(p.he), p.his, p.trait) for p in PEOPLE]


def _months() -> list[Record]:
    return [(m, MONTHS[(i + 1) % 12], number(data.MONTH_DAYS[i]), ordinal(i + 1), MONTHS[i - 1])
            for i, m in enumerate(MONTHS)]


def _domain(name: str, records: list[Record], templates: list[str],
            asks: list[tuple[str, int]] = (), weight: float = 1.0) -> Domain:
    return Domain(name, tuple(records), tuple(templates), tuple(asks), weight)


DOMAINS = (
    _domain("capitals", data.CAPITALS, [
        "The capital of {0} is {1}. {0} is in {2}, and people there speak {3}.",
        "The capital of {0} is {1}.",
        "{1} is the capital of {0}.",
        "In {0}, which lies in {2}, the capital is called {1}.",
        "Many people in {0} speak {3}, and its capital is {1}.",
    ], [("What is the capital of {0}?", 1), ("Which country has the capital {1}?", 0),
        ("What language do people speak in {0}?", 3)], 3.0),
    _domain("people", _people(), [
        "{0} is {2} in {1}. {9} has a {3} named {4}, and {10} favourite food is {5}.",
        "{0} was born on {7}. {10} best friend is {8}.",
        "{0} lives in {1} and works as {2}. {0} likes the colour {6}.",
        "The {3} of {0} is called {4}. Everyone says that {0} is {11}.",
        "{0} likes {5} best. {9} lives in {1}, and {10} favourite colour is {6}.",
    ], [("Where does {0} live?", 1), ("What is the pet of {0} called?", 4),
        ("What does {0} like to eat?", 5), ("Who is the best friend of {0}?", 8),
        ("When was {0} born?", 7), ("What is the favourite colour of {0}?", 6)], 3.0),
    _domain("sums", _sums(), ["{0} plus {1} is {2}.", "If you add {1} to {0}, you get {2}.",
                              "{0} and {1} make {2}."], [("What is {0} plus {1}?", 2)], 2.0),
    _domain("differences", _differences(), [
        "{0} minus {1} is {2}.", "If you take {1} from {0}, {2} is left."],
        [("What is {0} minus {1}?", 2)], 2.0),
    _domain("products", _products(), ["{0} times {1} is {2}."], [("What is {0} times {1}?", 2)], 2.0),
    _domain("counting", _counting(), [
        "Count by {0} from {1}: {2}, {3}.", "Start at {1} and add {0} each time: {2}, {3}."], [], 1.0),
    _domain("elements", data.ELEMENTS, [
        "The symbol for {0} is {1}, and its number is {2}.",
        "The chemical symbol of {0} is {1}. It is a {3}.",
        "Element number {2} is {0}, a {3} written {1}.",
    ], [("What is the symbol for {0}?", 1), ("Which element has the symbol {1}?", 0)], 1.5),
    _domain("animals", data.ANIMALS, [
        "A {0} {1}. A young {0} is called a {2}.", "The {0} lives in the {3}, and it {1}.",
        "A {2} is a young {0}."], [("What is a young {0} called?", 2)]),
    _domain("opposites", data.OPPOSITES, ["The opposite of {0} is {1}.", "{0} is the opposite of {1}."],
            [("What is the opposite of {0}?", 1)]),
    _domain("plurals", data.PLURALS, ["One {0}, two {1}.", "The plural of {0} is {1}."],
            [("What is the plural of {0}?", 1)]),
    _domain("past", data.PAST, ["Today I {0}, yesterday I {1}.", "The past of {0} is {1}."],
            [("What is the past of {0}?", 1)]),
    _domain("colours", data.COLOURS, ["The colour of {0} is {1}."], [("What is the colour of {0}?", 1)]),
    _domain("work", data.WORK, ["A {0} works in the {1} and uses the {2}.", "The {2} is the tool of the {0}."],
            [("Who works with the {2}?", 0)]),
    _domain("days", _next_in(data.DAYS), ["The day after {0} is {1}.", "{0} comes before {1}."],
            [("What day comes after {0}?", 1)], 0.6),
    _domain("months", _months(), [
        "The month after {0} is {1}. {0} has {2} days.", "{0} is the {3} month, and it follows {4}."],
        [("What month comes after {0}?", 1)], 0.6),
    _domain("letters", _next_in(data.LETTERS), ["The letter after {0} is {1}."],
            [("What letter comes after {0}?", 1)], 0.4),
    _domain("planets", _next_in(data.PLANETS)[:-1], ["The planet after {0} is {1}."], [], 0.2),
    _domain("villages", data.VILLAGES, [
        "{0} lies on the river {1} and is known for its {2}.", "The mayor of {0} is a {3}.",
        "The river {1} flows through {0}."], [("Which river flows through {0}?", 1)], 0.8),
)

BY_NAME = {domain.name: domain for domain in DOMAINS}


def sentence(template: str, record: Record) -> str:
    """Fills a template; every sentence of the result starts with a capital."""
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", template.format(*record))
    parts = text.split(". ")
    return ". ".join(upper_first(part) for part in parts)


def question(domain: Domain, ask: tuple[str, int], record: Record) -> tuple[str, str]:
    text, field = ask
    return sentence(text, record), record[field]


def ask_line(text: str, answer: str) -> str:
    return f"Question: {text}\nAnswer: {answer}."


def document(dice: Dice) -> str:
    """Several facts of one domain, in one phrasing or as questions."""
    domain = dice.rng.choices(DOMAINS, [d.weight for d in DOMAINS])[0]
    here = dice.rng.randrange(len(domain.records))
    asking = bool(domain.asks) and dice.chance(0.25)
    form = dice.pick(domain.asks if asking else domain.templates, domain.name, wild=0.3)
    lines: list[str] = []
    while len(lines) < 3 or (len(lines) < 12 and not dice.chance(STOP)):
        record = domain.records[here]
        lines.append(ask_line(*question(domain, form, record)) if asking else sentence(form, record))
        follow = dice.chance(0.65)
        here = domain.follower[here] if follow else dice.rng.randrange(len(domain.records))
        if not asking and dice.chance(0.15):
            form = dice.pick(domain.templates, domain.name, wild=0.3)
    return ("\n" if asking else " ").join(lines)
