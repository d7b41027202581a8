# SPDX-License-Identifier: Apache-2.0
"""The plots: each keeps a state and ends with sentences that must agree with it."""

from __future__ import annotations

from .story import Story
from .words import article, counted, listing, number, were
from .world import COUNTABLES, HOLDERS, PLACES, SPOTS


def _near(value: int) -> list[str]:
    """Wrong answers near a number."""
    return [number(v) for v in range(max(0, value - 4), value + 5)]


def errand(s: Story) -> None:
    """A promise, a trade for part of what the hero carries, a gift."""
    hero = s.hero
    friend = s.meet(hero, "friend")
    thing = s.thing(friend)
    seller = s.meet(friend, "seller")
    place = s.dice.pick(PLACES, seller.name, "sells at")
    goods = s.dice.pick(COUNTABLES, hero.job, "goods")
    holder = s.dice.pick(HOLDERS, hero.name, "holder")
    have = s.dice.number(6, 20, hero.name, "have")
    price = s.dice.number(2, 5, seller.name, "price")
    left = have - price
    s.open(hero)
    s.tell(["{h} had promised {f} {a}.", "{f} wanted {a}, and {h} had promised to find one."],
           friend.name, h=hero, f=friend, a=article(thing))
    s.tell(["{h} put {c} into {his} {holder} and set out for {place}.",
            "So {h} took {his} {holder} with {c} and walked to {place}."],
           hero.name, h=hero, c=counted(have, goods), his=hero.his, holder=holder, place=place)
    s.obstacle(hero, place)
    s.tell(["At {place} {he} met {o}, who owned {a}. \"I will give it to you for {p},\" said {o}.",
            "{o} stood at {place} with {a}. \"It costs {p},\" said {o} to {h}."],
           seller.name, he=hero.he, place=place, o=seller, a=article(thing), h=hero,
           p=counted(price, goods))
    s.tell(["{h} counted out {p}, so {l} {were} left in the {holder}.",
            "{h} paid {p} and had {l} left in the {holder}."],
           seller.trait, h=hero, p=counted(price, goods), l=counted(left, goods), were=were(left),
           holder=holder)
    s.home_again(hero)
    eaten = min(left - 1, s.dice.number(1, 3, hero.pet_name, "eats")) if s.dice.pick((True, False), hero.pet) else 0
    if eaten:
        left -= eaten
        s.tell(["Hungry {pet} ate {e}, and then only {l} {were} left."], hero.pet,
               pet=hero.pet_name, e=counted(eaten, goods), l=counted(left, goods), were=were(left))
    s.tell(["Then {h} gave the {t} to {f}, and {f} was happy, because {he} had wanted {a} for so long.",
            "{f} thanked {h} for the {t} and said that {he} would take good care of it."],
           friend.name, h=hero, t=thing, f=friend, he=friend.he, a=article(thing))
    s.tell(["In the end {f} had the {t}, {o} had {p}, and {l} {were} still in the {holder} of {h}."],
           "recap", f=friend, t=thing, o=seller, p=counted(price, goods), l=counted(left, goods),
           were=were(left), holder=holder, h=hero)
    s.ask("who", f"Who has the {thing} now?", friend, s.names())
    s.ask("who", f"Who sold the {thing}?", seller, s.names())
    s.ask("how-many", f"How many {goods[1]} are left in the {holder}?", number(left), _near(left))
    s.ask("where", f"Where did {hero} find the {thing}?", "at " + place, ["at " + p for p in PLACES])
    s.close(hero)


def hidden(s: Story) -> None:
    """A thing is hidden, moved by someone else, and found again."""
    hero = s.hero
    thing = s.thing(hero)
    other = s.meet(hero, "rival")
    place = s.dice.pick(PLACES, hero.name, "hides at")
    there = s.dice.pick(PLACES, other.name, "moves to", avoid=[place])
    spot = s.dice.pick(SPOTS, place)
    new_spot = s.dice.pick(SPOTS, there, avoid=[spot])
    helper = s.meet(other, "helper")
    s.open(hero)
    s.tell(["{h} owned {a} and was afraid to lose it.", "The best thing that {h} had was {a}."],
           hero.name, h=hero, a=article(thing))
    s.tell(["So {he} went to {place} and hid the {t} {spot}.",
            "One day {he} carried the {t} to {place} and put it {spot}."],
           hero.trait, he=hero.he, place=place, t=thing, spot=spot)
    s.tell(["But {o} the {job} had seen it. When {h} was gone, {o} took the {t} to {there} and left it {new}.",
            "But {o} the {job} came by, picked up the {t}, carried it to {there} and laid it {new}."],
           other.name, o=other, job=other.job, h=hero, t=thing, there=there, new=new_spot)
    s.tell(["The next day {h} looked {spot}, but the {t} was not there any more.",
            "Later {h} came back to {place} and looked {spot}, but it was empty."],
           hero.name, h=hero, spot=spot, t=thing, place=place)
    s.tell(["{h} asked {f}. \"I saw {o} at {there},\" said {f}.",
            "\"Have you seen my {t}?\" asked {h}. \"Look at {there},\" said {f}, \"{o} was there.\""],
           helper.name, h=hero, f=helper, o=other, there=there, t=thing)
    s.obstacle(hero, there)
    s.tell(["At {there} {he} looked everywhere, and at last {he} found the {t} {new}.",
            "{h} searched {there} until {he} found the {t} {new}."],
           hero.trait, there=there, he=hero.he, t=thing, new=new_spot, h=hero)
    s.tell(["{o} was sorry. \"I only wanted to look at it,\" {he} said, and {h} forgave {him}.",
            "{o} said that {he} was sorry, and {h} shook hands with {him}."],
           other.trait, o=other, he=other.he, him=other.him, h=hero)
    s.home_again(hero)
    s.tell(["So the {t} had been {spot} at {place} first and {new} at {there} later, and now {h} had it again."],
           "recap", t=thing, spot=spot, place=place, new=new_spot, there=there, h=hero)
    s.ask("who", f"Who moved the {thing}?", other, s.names())
    s.ask("who", f"Who has the {thing} now?", hero, s.names())
    s.ask("where", f"Where was the {thing} found?", "at " + there, ["at " + p for p in PLACES])
    s.ask("where", f"Where did {hero} hide the {thing}?", spot, SPOTS)
    s.close(hero)


def harvest(s: Story) -> None:
    """Three people gather things; sums, gifts, and who has the most."""
    hero = s.hero
    second = s.meet(hero, "friend")
    third = s.meet(second, "friend")
    place = s.dice.pick(PLACES, hero.name, "gathers at")
    goods = s.dice.pick(COUNTABLES, hero.job, "gathers")
    a = s.dice.number(5, 12, hero.name, "finds")
    b = s.dice.number(2, 10, second.name, "finds")
    c = s.dice.number(2, 10, third.name, "finds")
    s.open(hero)
    s.tell(["{h}, {p} and {q} went to {place} to look for {g}.",
            "That day {h} went with {p} and {q} to {place}, where there were many {g}."],
           hero.trait, h=hero, p=second, q=third, place=place, g=goods[1])
    s.obstacle(hero, place)
    s.tell(["{h} found {a}, {p} found {b}, and {q} found {c}."], "find", h=hero, p=second, q=third,
           a=counted(a, goods), b=number(b), c=number(c))
    s.tell(["{h} and {p} together had {ab}, and all three had {abc}.",
            "All together that made {abc}, and {h} and {p} alone had {ab}."],
           place, h=hero, p=second, ab=number(a + b), abc=number(a + b + c))
    gift = s.dice.number(1, min(4, a - 2), hero.trait, "gift")
    s.tell(["{q} was {job} and needed more, so {h} gave {q} {n}. After that {h} had {x} and {q} had {y}.",
            "{h} was {trait} and gave {n} to {q}, so that {h} had {x} and {q} had {y}."],
           third.name, q=third, job=article(third.job), h=hero, trait=hero.trait,
           n=counted(gift, goods), x=number(a - gift), y=number(c + gift))
    counts = {hero: a - gift, second: b, third: c + gift}
    best = max(counts.values())
    first = [p for p, v in counts.items() if v == best]
    if len(first) == 1:
        s.tell(["Now {w} had the most {g}, namely {n}.", "So in the end {w} had the most, and that was {n}."],
               place, w=first[0], g=goods[1], n=number(best))
        s.ask("who", f"Who has the most {goods[1]}?", first[0], s.names()[:4])
    else:
        s.tell(["Now {w} had the same number of {g}, namely {n}."], place,
               w=listing([p.name for p in first]), g=goods[1], n=number(best))
    s.home_again(hero)
    s.meal(hero)
    s.tell(["{h} still had {x}, {p} had {b}, and {q} had {y} {g}."], "recap", h=hero, x=number(a - gift),
           p=second, b=number(b), q=third, y=number(c + gift), g=goods[1])
    for person, count in counts.items():
        s.ask("how-many", f"How many {goods[1]} does {person} have now?", number(count), _near(count))
    s.ask("how-many", f"How many {goods[1]} do they have together?", number(a + b + c), _near(a + b + c))
    s.ask("where", f"Where did they look for {goods[1]}?", "at " + place, ["at " + p for p in PLACES])
    s.close(hero)


def shopping(s: Story) -> None:
    """Two purchases and a coin found or lost on the way."""
    hero = s.hero
    first_seller, second_seller = s.meet(hero, "shop"), s.meet(hero, "stall")
    thing, other = s.thing(hero), s.thing(first_seller)
    place = s.dice.pick(PLACES, hero.name, "shops at")
    coins = s.dice.number(12, 30, hero.name, "coins")
    p1 = s.dice.number(2, 7, first_seller.name, "asks")
    p2 = s.dice.number(1, 4, second_seller.name, "asks")
    gold = ("coin", "coins")
    s.open(hero)
    s.wish(hero, thing)
    s.tell(["{he} had saved {c}, so {he} went to {place}.", "With {c} in {his} pocket {he} went to {place}."],
           hero.name, he=hero.he, his=hero.his, c=counted(coins, gold), place=place)
    s.obstacle(hero, place)
    s.tell(["First {h} bought {a} from {o} for {p}. Now {he} had {l} left.",
            "{o} sold {him} {a} for {p}, and {l} {were} left."],
           first_seller.name, h=hero, a=article(thing), o=first_seller, p=counted(p1, gold), he=hero.he,
           him=hero.him, l=counted(coins - p1, gold), were=were(coins - p1))
    s.tell(["Then {h} bought {a} from {o} for {p}, and {l} {were} left.",
            "After that {o} sold {him} {a} for {p}. Now {he} had {l} left."],
           second_seller.name, h=hero, a=article(other), o=second_seller, p=counted(p2, gold), he=hero.he,
           him=hero.him, l=counted(coins - p1 - p2, gold), were=were(coins - p1 - p2))
    left = coins - p1 - p2
    found = s.dice.number(1, 4, place, "coins")
    if s.dice.pick((True, False), place, "luck"):
        left += found
        s.tell(["On the road {he} found {c}, so {he} had {l}."], "luck", he=hero.he,
               c=counted(found, gold), l=counted(left, gold))
    else:
        left -= min(found, left)
        s.tell(["On the road {he} lost {c}, so {he} had {l}."], "luck", he=hero.he,
               c=counted(min(found, coins - p1 - p2), gold), l=counted(left, gold))
    s.home_again(hero)
    friend = s.meet(hero, "friend")
    s.tell(["{h} kept the {t} and gave the {u} to {f}.", "{f} got the {u} as a present, and {h} kept the {t}."],
           friend.name, h=hero, t=thing, u=other, f=friend)
    s.tell(["Now {h} had the {t} from {o} and {l}, and {f} had the {u} from {q}."], "recap", h=hero, t=thing,
           o=first_seller, l=counted(left, gold), f=friend, u=other, q=second_seller)
    s.ask("how-many", f"How many coins does {hero} have now?", number(left), _near(left))
    s.ask("who", f"Who sold the {thing}?", first_seller, s.names())
    s.ask("who", f"Who has the {other} now?", friend, s.names())
    s.ask("where", f"Where did {hero} go shopping?", "at " + place, ["at " + p for p in PLACES])
    s.close(hero)
