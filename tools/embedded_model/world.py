# SPDX-License-Identifier: Apache-2.0
"""The world of the stories: people with fixed lives, places, things.

What is fixed about a person (home, trade, pet, ...) never changes between
documents, so the model can learn it by heart; what a person wants or meets is
drawn for each story with preferences that depend on the person.
"""

from __future__ import annotations

import dataclasses
import random

FEMALE = ("Anna Clara Emma Grace Hanna Ida Julia Kate Lily Mary Nora Olga Paula Rosa Sara "
          "Tina Vera Wendy Zoe Alice Bella Dora Ella Fay Greta Helen Ivy Jane Lucy Mia "
          "Nina Ruth Sofia Tess Una Martha").split()
MALE = ("Tom Ben Carl David Erik Felix George Hugo Ivan Jack Karl Leo Max Noah Oscar Paul "
        "Peter Robert Sam Tim Victor Walter Adam Bruno Colin Daniel Edgar Frank Henry Jacob "
        "Kurt Luke Martin Otto Ralph Simon").split()
HOMES = ("Millbrook Oakham Redford Stonebridge Greenhill Westwick Ashford Riverton "
         "Foxdale Lakeside Thornbury Silverton").split()
JOBS = ("baker farmer miller sailor teacher doctor tailor painter gardener shepherd weaver "
        "potter carpenter singer fisher hunter clockmaker librarian shoemaker cook beekeeper "
        "blacksmith knight musician").split()
TRAITS = ("kind brave clever quiet patient cheerful careful curious gentle honest proud "
          "lazy shy stubborn funny tidy").split()
PETS = ("cat dog rabbit goat parrot pony hen duck mouse turtle fox owl").split()
PET_NAMES = ("Pip Biscuit Shadow Pepper Snow Daisy Button Rusty Mango Smoky Bubbles Ginger "
             "Cloud Nutmeg Patch Rocket Honey Pebble Storm Domino Ziggy Olive Bandit "
             "Hazel").split()
FOODS = ("pancakes", "bread and cheese", "tomato soup", "apple pie", "fried fish", "porridge",
         "roast chicken", "honey cake", "noodles", "potato stew", "rice pudding",
         "mushroom soup", "plum jam", "cabbage rolls", "ginger biscuits", "bean salad")
COLOURS = "red blue green yellow white black silver golden purple brown".split()
THINGS = ("kite ball hat lamp drum book boat key coat mirror bell flute basket clock scarf "
          "ring cup map rope lantern whistle blanket spoon knife doll compass umbrella horn "
          "brush wheel ladder saddle").split()
COUNTABLES = (("apple", "apples"), ("pear", "pears"), ("plum", "plums"), ("egg", "eggs"),
              ("cherry", "cherries"), ("nut", "nuts"), ("carrot", "carrots"),
              ("onion", "onions"), ("shell", "shells"), ("feather", "feathers"),
              ("candle", "candles"), ("button", "buttons"), ("loaf", "loaves"),
              ("fish", "fish"), ("potato", "potatoes"), ("berry", "berries"))
PLACES = ("the market", "the old mill", "the harbour", "the school", "the forest", "the bridge",
          "the lighthouse", "the castle", "the meadow", "the station", "the church",
          "the library", "the well", "the orchard", "the cave", "the inn", "the river bank",
          "the tower", "the stable", "the bakery")
SPOTS = ("under the bench", "in the wooden box", "behind the door", "on the high shelf",
         "in the hollow tree", "under the stairs", "in the clay pot", "behind the curtain",
         "in the leather bag", "under the flat stone", "in the empty barrel",
         "on the window sill")
HOLDERS = ("basket", "bag", "sack", "bucket", "box", "cart", "apron", "bowl")
WEATHER = ("sunny", "rainy", "windy", "foggy", "snowy", "cold", "warm", "stormy")
TIMES = ("morning", "afternoon", "evening", "Monday", "Tuesday", "Wednesday", "Thursday",
         "Friday", "Saturday", "Sunday")
MONTHS = ("January February March April May June July August September October November "
          "December").split()


@dataclasses.dataclass(frozen=True)
class Person:
    name: str
    female: bool
    home: str
    job: str
    trait: str
    pet: str
    pet_name: str
    food: str
    colour: str
    birth_day: int
    birth_month: str

    @property
    def he(self) -> str:
        return "she" if self.female else "he"

    @property
    def him(self) -> str:
        return "her" if self.female else "him"

    @property
    def his(self) -> str:
        return "her" if self.female else "his"

    @property
    def man(self) -> str:
        return "woman" if self.female else "man"

    def __str__(self) -> str:
        return self.name


def _person(name: str, female: bool) -> Person:
    rng = random.Random("person " + name)
    return Person(name, female, rng.choice(HOMES), rng.choice(JOBS), rng.choice(TRAITS),
                  rng.choice(PETS), rng.choice(PET_NAMES), rng.choice(FOODS),
                  rng.choice(COLOURS), rng.randint(1, 28), rng.choice(MONTHS))


PEOPLE = tuple(_person(n, True) for n in FEMALE) + tuple(_person(n, False) for n in MALE)


def best_friend(person: Person) -> Person:
    return random.Random("friend " + person.name).choice([p for p in PEOPLE if p != person])
