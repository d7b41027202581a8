# SPDX-License-Identifier: Apache-2.0
"""More plots: who holds what after exchanges, and who was where in which order."""

from __future__ import annotations

from .story import Story
from .words import article, listing, number
from .world import FOODS, PLACES


def exchange(s: Story) -> None:
    """Three people with three things; two exchanges; who holds what."""
    people = [s.hero]
    people.append(s.meet(people[0], "friend"))
    people.append(s.meet(people[1], "friend"))
    hero = people[0]
    holds = {p: s.thing(p) for p in people}
    place = s.dice.pick(PLACES, hero.name, "meets at")
    s.open(hero)
    s.obstacle(hero, place)
    s.tell(["{a}, {b} and {c} met at {place}.", "At {place} {a} met {b} and {c}."], hero.name,
           a=people[0], b=people[1], c=people[2], place=place)
    s.tell(["{a} had {x}, {b} had {y}, and {c} had {z}.", "{a} brought {x}, {b} brought {y}, and {c} brought {z}."],
           hero.trait, a=people[0], b=people[1], c=people[2],
           **{k: article(holds[p]) for k, p in zip("xyz", people)})
    start = dict(holds)
    first = s.dice.pick([(0, 1), (0, 2), (1, 2)], hero.name, "swap")
    second = s.dice.pick([(0, 1), (0, 2), (1, 2)], people[1].name, "swap", avoid=[first])
    for turn, (i, j) in enumerate((first, second)):
        p, q = people[i], people[j]
        s.tell(["{t} {p} gave {q} the {x} and got the {y}.", "{t} {p} and {q} changed the {x} for the {y}."],
               p.trait, t=("First", "Then")[turn], p=p, q=q, x=holds[p], y=holds[q])
        holds[p], holds[q] = holds[q], holds[p]
        if turn == 0:
            s.tell(["Now {p} had the {x}, and {q} had the {y}."], "after", p=p, q=q, x=holds[p], y=holds[q])
    same = [p for p in people if holds[p] == start[p]]
    s.tell(["In the end {a} had the {x}, {b} had the {y}, and {c} had the {z}."], "recap",
           a=people[0], b=people[1], c=people[2], **{k: holds[p] for k, p in zip("xyz", people)})
    for p in same[:1]:
        s.tell(["So {p} still had the {x} that {he} had brought."], "same", p=p, x=holds[p], he=p.he)
    s.home_again(hero)
    s.tell(["{h} put the {x} on a shelf and thought of {p} and {q}."], "shelf", h=hero, x=holds[hero],
           p=people[1], q=people[2])
    for p in people:
        s.ask("who", f"Who has the {holds[p]} now?", p, s.names()[:4])
        s.ask("who", f"Who had the {start[p]} first?", p, s.names()[:4])
    s.ask("where", "Where did they meet?", "at " + place, ["at " + p for p in PLACES])
    s.close(hero)


def journey(s: Story) -> None:
    """Three stops, a person and a thing at each; told again in reverse."""
    hero = s.hero
    stops: list[tuple[str, object, str]] = []
    before, place = hero, hero.home
    for _ in range(3):
        place = s.dice.pick(PLACES, hero.name, place, avoid=[p for p, _, _ in stops])
        host = s.meet(before, "host")
        stops.append((place, host, s.thing(host)))
        before = host
    s.open(hero)
    s.tell(["{h} decided to make a long journey.", "{h} packed some {food} and set out on a journey."],
           hero.name, h=hero, food=hero.food)
    for i, (place, host, thing) in enumerate(stops):
        s.tell(["{w} {h} came to {place}, where {o} the {job} gave {him} {a}.",
                "{w} {he} stopped at {place}, and there {o} the {job} handed {him} {a}."],
               host.name, w=("First", "Then", "Last")[i], h=hero, he=hero.he, him=hero.him, place=place, o=host,
               job=host.job, a=article(thing))
        if i == 0:
            s.obstacle(hero, stops[1][0])
    s.tell(["So {h} had {l}."], "has", h=hero, l=listing([article(t) for _, _, t in stops]))
    s.home_again(hero)
    lucky = s.meet(hero, "friend")
    given = s.dice.pick([0, 1, 2], lucky.name, "gets")
    s.tell(["{h} gave the {t} to {f}, who had always wanted one.", "\"This {t} is for you,\" {h} said to {f}."],
           lucky.name, h=hero, t=stops[given][2], f=lucky)
    (_, o1, t1), (_, o2, t2), (_, o3, t3) = stops
    s.tell(["{h} told {f} that the {t3} was from {o3}, the {t2} from {o2}, and the {t1} from {o1}."], "recap",
           h=hero, f=lucky, t1=t1, t2=t2, t3=t3, o1=o1, o2=o2, o3=o3)
    kept = [t for i, (_, _, t) in enumerate(stops) if i != given]
    s.tell(["{h} kept {l}."], "kept", h=hero, l=listing(["the " + t for t in kept]))
    s.meal(hero)
    for place, host, thing in stops:
        s.ask("who", f"Who gave {hero} the {thing}?", host, s.names())
        s.ask("where", f"Where did {hero} get the {thing}?", "at " + place, ["at " + p for p, _, _ in stops]
              + ["at " + p for p in PLACES[:4]])
    s.ask("who", f"Who got the {stops[given][2]} from {hero}?", lucky, s.names())
    s.close(hero)


def lost_pet(s: Story) -> None:
    """The pet runs away; people say where it went; it is found with someone."""
    hero = s.hero
    finder = s.meet(hero, "finder")
    first, second = s.meet(hero, "asks"), s.meet(finder, "asks")
    thing = s.thing(finder)
    a = s.dice.pick(PLACES, hero.pet_name, "runs to")
    b = s.dice.pick(PLACES, finder.name, "keeps", avoid=[a])
    snack = s.dice.pick(FOODS, hero.pet, "smells")
    s.open(hero)
    s.tell(["But that day {pet} was gone. \"Where is my {kind}?\" cried {h}.",
            "When {h} woke up, {pet} the {kind} had run away."], hero.name, pet=hero.pet_name, kind=hero.pet, h=hero)
    s.tell(["{p} the {job} had seen {pet} near {a}. So {h} went to {a}, but {pet} was not there.",
            "\"{pet} ran to {a},\" said {p} the {job}. {h} hurried to {a} and found only footprints."],
           first.name, p=first, job=first.job, pet=hero.pet_name, a=a, h=hero)
    s.tell(["There {q} the {job} said, \"A {kind} just ran to {b}.\"",
            "{q} the {job} stood there and pointed to {b}. \"Your {kind} went that way,\" {he} said."],
           second.name, q=second, job=second.job, kind=hero.pet, b=b, he=second.he)
    s.obstacle(hero, b)
    s.tell(["At {b} {pet} sat next to {f} and ate {food}.", "{pet} was at {b} with {f}, who fed {pet} {food}."],
           finder.name, b=b, pet=hero.pet_name, f=finder, food=snack)
    s.tell(["{f} the {job} smiled. {he} also gave {h} {t} to remember the day.",
            "\"Take this {u} too,\" said {f} the {job}, and {h} took it."],
           finder.trait, f=finder, job=finder.job, he=finder.he, h=hero, t=article(thing), u=thing)
    hours = s.dice.number(2, 9, hero.name, "hours")
    s.tell(["The search had taken {n} hours.", "It had been {n} long hours."], hero.name, n=number(hours))
    s.tell(["{h} thanked {p}, {q} and {f}, and took {pet} and the {t} back to {home}."], "recap",
           h=hero, p=first, q=second, f=finder, pet=hero.pet_name, t=thing, home=hero.home)
    s.meal(hero)
    s.tell(["{pet} the {kind} was not hungry any more after the {food} at {b}."], "full", pet=hero.pet_name,
           kind=hero.pet, food=snack, b=b)
    s.ask("who", f"Who found {hero.pet_name}?", finder, s.names())
    s.ask("who", f"Who gave {hero} the {thing}?", finder, s.names())
    s.ask("where", f"Where was {hero.pet_name} found?", "at " + b, ["at " + a] + ["at " + p for p in PLACES])
    s.ask("how-many", f"How many hours did the search take?", number(hours), [number(v) for v in range(2, 10)])
    s.close(hero)
