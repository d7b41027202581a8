# SPDX-License-Identifier: Apache-2.0
"""What every story shares: its people, its opening, its questions, small events."""

from __future__ import annotations

import dataclasses
import re

from .dice import Dice
from .words import article, upper_first
from .world import COLOURS, PEOPLE, THINGS, TIMES, WEATHER, Person


@dataclasses.dataclass(frozen=True)
class Query:
    """A question about a story; ``others`` are wrong answers of the same kind."""
    kind: str
    text: str
    answer: str
    others: tuple[str, ...]


class Story:
    """Collects sentences and the questions that they answer."""

    def __init__(self, dice: Dice):
        self.dice = dice
        self.lines: list[str] = []
        self.queries: list[Query] = []
        self.hero = PEOPLE[dice.rng.randrange(len(PEOPLE))]
        self.cast: list[Person] = [self.hero]
        self.things: list[str] = []

    def add(self, text: str) -> None:
        text = re.sub(r"\b([Aa]) (?=[aeio]|honest)", r"\1n ", text)
        self.lines.append(upper_first(text))

    def tell(self, variants: list[str], *key: object, **words: object) -> None:
        """Adds one of several phrasings of the same content."""
        text = self.dice.say(variants, variants[0], *key).format(**words)
        self.add(". ".join(upper_first(part) for part in text.split(". ")))

    def ask(self, kind: str, text: str, answer: object, others) -> None:
        wrong = tuple(dict.fromkeys(str(o) for o in others if str(o) != str(answer)))
        self.queries.append(Query(kind, text, str(answer), wrong))

    def text(self) -> str:
        return " ".join(self.lines)

    # People and things

    def meet(self, key: object, role: str) -> Person:
        """Someone new, usually one that the key's person usually meets."""
        other = self.dice.pick(PEOPLE, str(key), role, avoid=self.cast)
        self.cast.append(other)
        return other

    def thing(self, owner: Person) -> str:
        """A thing with a colour; which ones depends on the person."""
        used = [t.split()[1] for t in self.things]
        noun = self.dice.pick(THINGS, owner.name, "thing", avoid=used)
        colour = self.dice.pick(COLOURS, owner.name, noun)
        self.things.append(f"{colour} {noun}")
        return self.things[-1]

    def names(self) -> list[str]:
        """Names to answer a question with: the cast first, then strangers."""
        names = [p.name for p in self.cast]
        strangers = [p.name for p in PEOPLE if p.name not in names]
        return names + self.dice.rng.sample(strangers, 3)

    # Passages

    def open(self, hero: Person) -> None:
        self.tell([
            "{n} was a {trait} {job} who lived in {home}. {he} had a {pet} named {pet_name}.",
            "In {home} there lived a {trait} {job} named {n}. {n} had a {pet} called {pet_name}.",
            "Once there was a {trait} {job} called {n}. {he} lived in {home} with {his} {pet} {pet_name}.",
        ], hero.home, n=hero, trait=hero.trait, job=hero.job, home=hero.home,
            he=hero.he, his=hero.his, pet=hero.pet, pet_name=hero.pet_name)
        weather = self.dice.pick(WEATHER, hero.home)
        time = self.dice.pick(TIMES, hero.name)
        self.tell(["It was a {w} {t}.", "It happened on a {w} {t}."], hero.job, w=weather, t=time)

    def wish(self, hero: Person, thing: str) -> None:
        self.tell([
            "{n} wanted {a} more than anything.",
            "For a long time {n} had wished for {a}.",
            "{n} dreamed of having {a}.",
        ], hero.trait, n=hero, a=article(thing))

    def obstacle(self, hero: Person, place: str) -> None:
        trouble, way_out = self.dice.pick([
            ("the bridge was broken", "{he} crossed the stream on flat stones"),
            ("a big goose blocked the path", "{he} gave it some bread and walked on"),
            ("a tree had fallen across the road", "{he} climbed over it slowly"),
            ("thick fog hid the path", "{he} followed the sound of a bell"),
            ("the gate was locked", "{he} found the key under a stone"),
            ("it began to rain hard", "{he} waited under an old oak"),
            ("a dog barked at {him}", "{he} spoke softly until it lay down"),
            ("{he} lost the way", "{he} asked an old woman who knew the road"),
        ], place)
        self.tell([
            "On the way to {place} {trouble}, but {way}.",
            "Near {place} {trouble}, so {way}.",
        ], hero.trait, place=place, trouble=trouble.format(he=hero.he, him=hero.him),
            way=way_out.format(he=hero.he))

    def home_again(self, hero: Person) -> None:
        self.tell([
            "When {n} came home to {home}, {pet_name} the {pet} ran to meet {him}.",
            "In the evening {n} walked back to {home}, where {pet_name} the {pet} was waiting for {him}.",
            "At last {n} was in {home} again, and {pet_name} the {pet} jumped for joy.",
        ], hero.home, n=hero, home=hero.home, pet=hero.pet, pet_name=hero.pet_name, him=hero.him)
        self.ask("where", f"Where does {hero} live?", hero.home, [p.home for p in PEOPLE[:20]])

    def meal(self, hero: Person) -> None:
        self.tell([
            "For supper {he} made {food}, because {n} liked that best.",
            "That night {n} ate {food}, {his} favourite food.",
        ], hero.trait, n=hero, he=hero.he, his=hero.his, food=hero.food)

    def close(self, hero: Person) -> None:
        moral = {
            "kind": "a kind word opens many doors", "brave": "courage is quieter than fear",
            "clever": "a good idea is worth a long walk", "quiet": "those who listen learn the most",
            "patient": "good things take time", "cheerful": "a smile makes the road shorter",
            "careful": "it is better to look twice", "curious": "questions are the best map",
            "gentle": "soft hands do strong work", "honest": "the truth is the best gift",
            "proud": "even the proud need friends", "lazy": "a little work saves a lot of trouble",
            "shy": "friends come to those who wait", "stubborn": "those who keep going arrive",
            "funny": "laughter is good company", "tidy": "everything has its place",
        }[hero.trait]
        self.tell(["And so {n} the {job} learned that {m}.", "{n} the {job} knew that {m}."],
                  hero.trait, n=hero, job=hero.job, m=moral)
