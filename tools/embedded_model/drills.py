# SPDX-License-Identifier: Apache-2.0
"""Short exercises in copying and looking up; they make the stories easier to learn.

Here the choices are uniform on purpose: what comes later in the document is fixed
by what came before, and nothing else helps to predict it.
"""

from __future__ import annotations

from .dice import Dice
from .facts import ask_line
from .words import counted, listing
from .world import COLOURS, COUNTABLES, PEOPLE, PLACES, THINGS


def _thing(dice: Dice) -> str:
    return f"the {dice.rng.choice(COLOURS)} {dice.rng.choice(THINGS)}"


def _item(dice: Dice) -> str:
    kind = dice.rng.randrange(4)
    if kind == 0:
        return _thing(dice)
    if kind == 1:
        return counted(dice.rng.randint(1, 20), dice.rng.choice(COUNTABLES))
    if kind == 2:
        return dice.rng.choice(PLACES)
    return dice.rng.choice(PEOPLE).name


def echo(dice: Dice) -> str:
    """A list that is said again, once or twice, word for word."""
    items = listing([_item(dice) for _ in range(dice.rng.randint(4, 12))])
    people = dice.rng.sample(PEOPLE, 3)
    lines = [f"{people[0]} said: {items}."]
    for person in people[1: dice.rng.randint(2, 3)]:
        lines.append(f"{person} said it again: {items}.")
    return " ".join(lines)


def lookup(dice: Dice) -> str:
    """Who has what and who is where, then questions about all of it."""
    people = dice.rng.sample(PEOPLE, dice.rng.randint(3, 6))
    facts, asks = [], []
    places = dice.rng.sample(PLACES, len(people))
    for person, place in zip(people, places):
        thing = _thing(dice)
        facts.append(f"{person} has {thing} and is at {place}.")
        asks += [(f"Who has {thing}?", person.name), (f"What does {person} have?", thing),
                 (f"Where is {person}?", "at " + place)]
    asked = dice.rng.sample(asks, dice.rng.randint(3, min(8, len(asks))))
    return "\n".join([" ".join(facts)] + [ask_line(*pair) for pair in asked])


def document(dice: Dice) -> str:
    return echo(dice) if dice.chance(0.5) else lookup(dice)
