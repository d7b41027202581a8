# SPDX-License-Identifier: Apache-2.0
"""English helpers: articles, plurals, number words, lists."""

from __future__ import annotations

from collections.abc import Sequence

ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen "
        "fourteen fifteen sixteen seventeen eighteen nineteen").split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
ORDINALS = ("_ first second third fourth fifth sixth seventh eighth ninth tenth eleventh "
            "twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth "
            "nineteenth twentieth").split()


def number(value: int) -> str:
    """A number from 0 to 999 in words."""
    if value < 20:
        return ONES[value]
    if value < 100:
        tens, ones = divmod(value, 10)
        return TENS[tens] + (f"-{ONES[ones]}" if ones else "")
    hundreds, rest = divmod(value, 100)
    return f"{ONES[hundreds]} hundred" + (f" and {number(rest)}" if rest else "")


def ordinal(value: int) -> str:
    """An ordinal from 1 to 31 in words."""
    if value <= 20:
        return ORDINALS[value]
    if value == 30:
        return "thirtieth"
    return f"{TENS[value // 10]}-{ORDINALS[value % 10]}"


def article(noun: str) -> str:
    """The noun phrase with "a" or "an"."""
    return ("an " if noun[0] in "aeiouAEIOU" else "a ") + noun


def counted(value: int, forms: tuple[str, str]) -> str:
    """A count with a noun: "one apple", "four apples"."""
    return f"{number(value)} {forms[0] if value == 1 else forms[1]}"


def were(value: int) -> str:
    return "was" if value == 1 else "were"


def listing(items: Sequence[str]) -> str:
    """ "a, b, and c" """
    if len(items) == 1:
        return items[0]
    if len(items) == 2:
        return f"{items[0]} and {items[1]}"
    return ", ".join(items[:-1]) + f", and {items[-1]}"


def upper_first(text: str) -> str:
    return text[0].upper() + text[1:]
