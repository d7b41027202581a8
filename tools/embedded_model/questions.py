# SPDX-License-Identifier: Apache-2.0
"""Stories with questions, and held-out multiple choice items made of them."""

from __future__ import annotations

from . import facts, journeys, plots
from .dice import Dice
from .story import Query, Story

PLOTS = (plots.errand, plots.hidden, plots.harvest, plots.shopping,
         journeys.exchange, journeys.journey, journeys.lost_pet)

# Well below one half: whether a question follows must not be a tie either.
STOP_ASKING = 0.25


def tell(dice: Dice) -> Story:
    story = Story(dice)
    dice.pick(PLOTS, story.hero.name, "plot", ratio=1.8, wild=0.3)(story)
    return story


def document(dice: Dice) -> str:
    """A story, often with one to three questions after it."""
    story = tell(dice)
    lines, asked = [story.text()], []
    while len(asked) < 3 and not dice.chance(STOP_ASKING):
        query = dice.pick(story.queries, story.hero.name, "asks", wild=0.3, avoid=asked)
        asked.append(query)
        lines.append(facts.ask_line(query.text, query.answer))
    return "\n".join(lines)


def _item(dice: Dice, prompt: str, query: Query, position: int) -> dict:
    choices = dice.rng.sample(query.others, 3)
    choices.insert(position, query.answer)
    return {"prompt": f"{prompt}Question: {query.text}\nAnswer:",
            "choices": [" " + c for c in choices], "answer": position, "kind": query.kind}


def _fact_query(dice: Dice) -> Query:
    domain = dice.rng.choice([d for d in facts.DOMAINS if d.asks])
    ask = dice.rng.choice(domain.asks)
    text, answer = facts.question(domain, ask, dice.rng.choice(domain.records))
    others = dict.fromkeys(r[ask[1]] for r in domain.records if r[ask[1]] != answer)
    return Query("fact", text, answer, tuple(others))


def items(dice: Dice, count: int) -> list[dict]:
    """Multiple choice items; kinds and positions of the answer take turns."""
    made = []
    while len(made) < count:
        kind = ("who", "how-many", "where", "fact")[len(made) % 4]
        position = len(made) // 4 % 4
        if kind == "fact":
            made.append(_item(dice, "", _fact_query(dice), position))
            continue
        story = tell(dice)
        fitting = [q for q in story.queries if q.kind == kind and len(q.others) >= 3]
        if fitting:
            made.append(_item(dice, story.text() + "\n", dice.rng.choice(fitting), position))
    return made
