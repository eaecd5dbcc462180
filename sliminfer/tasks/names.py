"""Invented names and values of planted facts, composed so that held-out ones never occur in training."""

from random import Random
from typing import Literal
from zlib import crc32

Split = Literal["train", "heldout"]
EntityKind = Literal["site", "person", "vessel", "project"]
ValueKind = Literal["number", "word", "person", "place", "date", "colour"]

# One name in eight is kept for evaluation.
HELDOUT_SHARE = 8

_ONSETS = (
    "b", "br", "c", "cl", "cr", "d", "dr", "f", "fl", "g", "gl", "gr", "h", "j", "k", "l", "m", "n", "p", "pr",
    "qu", "r", "s", "sh", "sk", "sp", "st", "t", "th", "tr", "v", "w", "z", "bl", "fr", "pl", "sl",
)  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u", "a", "e", "i", "o", "ai", "ea", "ee", "ie", "oa", "ou", "au")
_CODAS = (
    "n", "r", "l", "s", "t", "m", "d", "k", "v", "x", "nd", "rn", "ld", "st", "ck", "th", "lm", "rt", "nt", "rd",
    "ss", "ll", "ng",
)  # fmt: skip
_ENDINGS = (
    "or", "en", "ar", "us", "ia", "el", "in", "a", "o", "is", "an", "ey", "ow", "ock", "ell", "ard", "ent", "ora",
    "ine", "ale", "wick", "ton", "ford", "mere", "by",
)  # fmt: skip

_FIRST_NAMES = (
    "Ada", "Agnes", "Albert", "Alice", "Amelia", "Anders", "Anton", "Arthur", "Beatrice", "Bruno", "Carla", "Cecil",
    "Clara", "Conrad", "Cora", "Daniel", "Dora", "Edgar", "Edith", "Edmund", "Elena", "Elias", "Ellen", "Elsa",
    "Emil", "Esther", "Felix", "Flora", "Frida", "George", "Gerda", "Greta", "Harold", "Helen", "Henry", "Hugo",
    "Ida", "Irene", "Isaac", "Ivan", "Jacob", "James", "Jane", "Jonas", "Josef", "Julia", "Karl", "Klara", "Laura",
    "Lena", "Leo", "Lewis", "Lydia", "Mabel", "Marta", "Martin", "Maud", "Miriam", "Mona", "Nathan", "Nina", "Nora",
    "Olga", "Oscar", "Otto", "Paula", "Peter", "Quentin", "Rafael", "Ralph", "Rosa", "Ruth", "Samuel", "Sara",
    "Simon", "Sofia", "Stella", "Tessa", "Theo", "Thomas", "Tobias", "Ursula", "Vera", "Victor", "Wanda", "Walter",
    "William", "Xenia", "Yusuf", "Zelda",
)  # fmt: skip
_SITES = (
    "Station", "Bridge", "House", "Hall", "Abbey", "Castle", "Mill", "Farm", "Lodge", "Observatory", "Laboratory",
    "Harbour", "School", "Hospital", "Library", "Museum", "Tower", "Depot", "Theatre", "Works", "Quarry", "Archive",
)  # fmt: skip
_PROJECTS = ("Project", "Operation", "Expedition", "Mission")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_COLOURS = (
    "red", "blue", "green", "yellow", "black", "white", "brown", "grey", "orange", "purple", "pink", "silver",
    "golden", "crimson", "scarlet", "violet", "turquoise", "amber", "ivory", "copper", "bronze", "emerald",
    "indigo", "maroon",
)  # fmt: skip
_PLACE_PREFIXES = ("", "", "", "", "Port ", "Mount ", "Saint ", "Lake ", "New ", "Upper ")


def in_split(name: str, split: Split) -> bool:
    """Whether an invented name belongs to `split`: decided by its hash, so that no list has to be kept."""
    return (crc32(name.encode()) % HELDOUT_SHARE == 0) == (split == "heldout")


def invented_name(rng: Random, split: Split) -> str:
    """A pronounceable capitalised name of two or three syllables, such as `Vantor` or `Skeldomere`."""
    while True:
        name = rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS)
        if rng.random() < 0.35:
            name += rng.choice(_VOWELS) + rng.choice(_CODAS)
        name = (name + rng.choice(_ENDINGS)).capitalize()
        if in_split(name, split):
            return name


def person_name(rng: Random, split: Split) -> str:
    """A first name and an invented surname."""
    return f"{rng.choice(_FIRST_NAMES)} {invented_name(rng, split)}"


def entity_name(rng: Random, kind: EntityKind, split: Split) -> str:
    """What a fact is about: `Vantor Station`, `Tessa Quillen`, `the Orvane`, `Project Halcor`."""
    if kind == "person":
        return person_name(rng, split)
    if kind == "site":
        return f"{invented_name(rng, split)} {rng.choice(_SITES)}"
    if kind == "vessel":
        return f"the {invented_name(rng, split)}"
    return f"{rng.choice(_PROJECTS)} {invented_name(rng, split)}"


def value_text(rng: Random, kind: ValueKind, split: Split) -> str:
    """A value of the given kind. Numbers have three to six digits."""
    if kind == "number":
        digits = rng.choice((3, 4, 4, 5, 5, 5, 6))
        return str(rng.randrange(10 ** (digits - 1), 10**digits))
    if kind == "word":
        return invented_name(rng, split)
    if kind == "person":
        return person_name(rng, split)
    if kind == "place":
        return rng.choice(_PLACE_PREFIXES) + invented_name(rng, split)
    if kind == "date":
        return f"{rng.randint(1, 28)} {rng.choice(_MONTHS)} {rng.randint(1700, 2035)}"
    return rng.choice(_COLOURS)


def variable_name(rng: Random) -> str:
    """Five capital letters, the variable names of the tracking suite."""
    return "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=5))
