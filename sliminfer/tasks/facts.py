"""The vocabulary of planted facts: what can be stated about whom, how it is stated and how it is asked.

The demo model is trained on exactly these forms; the example documents plant facts of the same forms, in
wordings of their own, into hand-written prose.
"""

from dataclasses import dataclass
from random import Random

from sliminfer.tasks.names import EntityKind, Split, ValueKind, entity_name, value_text


@dataclass(frozen=True)
class Attribute:
    """One kind of fact. `statements` and `questions` are wordings of its own beside the general ones."""

    name: str
    owner: EntityKind
    value: ValueKind
    statements: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()


# The last wording of each tuple is held out: training never sees it.
STATEMENTS = (
    "The {attribute} of {entity} is {value}.",
    "The {attribute} of {entity} was {value}.",
    "{entity} has the {attribute} {value}.",
    "The {attribute} for {entity} is {value}.",
    "Remember that the {attribute} of {entity} is {value}.",
    "For {entity}, the {attribute} is {value}.",
    "As for {entity}, its {attribute} turned out to be {value}.",
    "According to the register, the {attribute} of {entity} was {value}, and nobody disputed it.",
    "{value} is the {attribute} of {entity}.",
    "The letter gave {value} as the {attribute} of {entity}.",
    "On the last page somebody had written that the {attribute} of {entity} was {value}.",
    "They agreed that {value} would be the {attribute} of {entity} from then on.",
    "It is well known that the {attribute} of {entity} is {value}.",
)
QUESTIONS = (
    "What is the {attribute} of {entity}?",
    "What is the {attribute} of {entity}?",
    "What was the {attribute} of {entity}?",
    "What is the {attribute} for {entity}?",
    "Which {attribute} does {entity} have?",
    "Tell me the {attribute} of {entity}.",
    "Give the {attribute} of {entity}.",
    "What does the text say is the {attribute} of {entity}?",
    "{entity}: {attribute}?",
    "Can you find the {attribute} of {entity}?",
    "Please state the {attribute} of {entity}.",
)

ATTRIBUTES = (
    Attribute("access code", "site", "number"),
    Attribute("registration number", "vessel", "number"),
    Attribute("registration number", "site", "number"),
    Attribute("serial number", "project", "number"),
    Attribute("locker number", "person", "number"),
    Attribute("badge number", "person", "number"),
    Attribute("ticket number", "person", "number"),
    Attribute("catalogue number", "project", "number"),
    Attribute("file number", "person", "number"),
    Attribute("account number", "site", "number"),
    Attribute("room number", "person", "number", ("{entity} was staying in room {value}.",),
              ("In which room was {entity} staying?",)),
    Attribute("telephone number", "site", "number", ("{entity} can be reached by telephone at {value}.",),
              ("At which number can {entity} be reached?",)),
    Attribute("budget", "project", "number", ("{value} crowns were set aside for {entity}.",),
              ("How many crowns were set aside for {entity}?",)),
    Attribute("crew size", "vessel", "number", ("A crew of {value} served aboard {entity}.",),
              ("How many people served aboard {entity}?", "How large was the crew of {entity}?")),
    Attribute("number of steps", "site", "number", ("There are {value} steps up to {entity}.",),
              ("How many steps lead up to {entity}?",)),
    Attribute("password", "site", "word"),
    Attribute("call sign", "vessel", "word"),
    Attribute("code name", "person", "word", ("Among friends {entity} went by the name of {value}.",),
              ("By what name was {entity} known among friends?",)),
    Attribute("watchword", "project", "word"),
    Attribute("secret word", "person", "word"),
    Attribute("keeper", "site", "person", ("{value} keeps the keys of {entity}.",),
              ("Who keeps the keys of {entity}?", "Who is the keeper of {entity}?")),
    Attribute("owner", "site", "person", ("{entity} belongs to {value}.", "{value} bought {entity}."),
              ("Who owns {entity}?", "To whom does {entity} belong?", "Who is the owner of {entity}?")),
    Attribute("founder", "site", "person", ("{entity} was founded by {value}.", "{value} founded {entity}."),
              ("Who founded {entity}?", "Who was the founder of {entity}?")),
    Attribute("architect", "site", "person",
              ("{entity} was designed by {value}.", "{value} drew the plans of {entity}."),
              ("Who designed {entity}?", "Who drew the plans of {entity}?")),
    Attribute("captain", "vessel", "person",
              ("{value} commands {entity}.", "{entity} sailed under Captain {value}."),
              ("Who commands {entity}?", "Who is the captain of {entity}?", "Who commanded {entity}?")),
    Attribute("leader", "project", "person", ("{entity} is led by {value}.", "{value} was put in charge of {entity}."),
              ("Who leads {entity}?", "Who is in charge of {entity}?")),
    Attribute("teacher", "person", "person", ("{entity} was taught by {value}.", "{value} taught {entity} to read."),
              ("Who taught {entity}?", "Who was the teacher of {entity}?")),
    Attribute("heir", "person", "person", ("{entity} left everything to {value}.",),
              ("To whom did {entity} leave everything?", "Who inherited from {entity}?")),
    Attribute("birthplace", "person", "place",
              ("{entity} was born in {value}.", "{entity}, who was born in {value}, said nothing."),
              ("Where was {entity} born?", "In which place was {entity} born?", "Where does {entity} come from?")),
    Attribute("home", "person", "place", ("{entity} lives in {value}.", "{entity} moved to {value} in the end."),
              ("Where does {entity} live?", "Where did {entity} move to?")),
    Attribute("home port", "vessel", "place", ("{entity} was built at {value}.",),
              ("Where was {entity} built?", "Which port does {entity} come from?")),
    Attribute("destination", "vessel", "place",
              ("{entity} sails for {value} at dawn.", "{entity} is bound for {value}."),
              ("Where is {entity} bound for?", "Where does {entity} sail?", "Where is {entity} going?")),
    Attribute("location", "site", "place", ("{entity} stands in {value}.", "{entity} lies near {value}."),
              ("Where is {entity}?", "Where does {entity} stand?", "Where can {entity} be found?")),
    Attribute("headquarters", "project", "place", ("{entity} was run from {value}.",),
              ("Where was {entity} run from?",)),
    Attribute("opening date", "site", "date",
              ("{entity} opened on {value}.", "The doors of {entity} opened on {value}."),
              ("When did {entity} open?", "On which day did {entity} open?", "When was {entity} opened?")),
    Attribute("date of birth", "person", "date", ("{entity} was born on {value}.",),
              ("When was {entity} born?", "On what date was {entity} born?")),
    Attribute("launch date", "vessel", "date", ("{entity} was launched on {value}.",),
              ("When was {entity} launched?",)),
    Attribute("starting date", "project", "date", ("{entity} began on {value}.",),
              ("When did {entity} begin?", "When did {entity} start?")),
    Attribute("colour of the door", "site", "colour", ("The door of {entity} is painted {value}.",),
              ("What colour is the door of {entity}?", "Which colour is the door of {entity}?")),
    Attribute("colour of the flag", "vessel", "colour", ("A {value} flag flew over {entity}.",),
              ("What colour was the flag over {entity}?",)),
    Attribute("colour of the coat", "person", "colour", ("{entity} wore a {value} coat that day.",),
              ("What colour was the coat of {entity}?", "Which coat did {entity} wear?")),
)  # fmt: skip

# Attributes of which one entity may well have several, with their plurals, for the multivalue suite.
PLURALS = {
    "access code": "access codes",
    "registration number": "registration numbers",
    "serial number": "serial numbers",
    "ticket number": "ticket numbers",
    "account number": "account numbers",
    "password": "passwords",  # nosec B105
    "code name": "code names",
    "watchword": "watchwords",
}
PLURAL_STATEMENTS = (
    "One of the {attributes} of {entity} is {value}.",
    "{value} is one of the {attributes} of {entity}.",
    "Among the {attributes} of {entity} there is {value}.",
    "One of the {attributes} given for {entity} was {value}.",
)
PLURAL_QUESTIONS = (
    "What are all the {attributes} of {entity}?",
    "Which {attributes} does {entity} have?",
    "List the {attributes} of {entity}.",
    "What are the {attributes} of {entity}?",
)


def choose_wording(rng: Random, wordings: tuple[str, ...], split: Split) -> str:
    """One wording of the split: the last of a tuple is held out, all the others are for training."""
    return wordings[-1] if split == "heldout" else rng.choice(wordings[:-1])


def capitalise(sentence: str) -> str:
    """Raise the first letter alone (`str.capitalize` would lower the names)."""
    return sentence[:1].upper() + sentence[1:]


@dataclass(frozen=True)
class Fact:
    """One planted fact: `attribute` of `entity` is `value`."""

    attribute: Attribute
    entity: str
    value: str

    def statement(self, rng: Random, split: Split) -> str:
        """A sentence that states the fact and holds the value verbatim."""
        own = self.attribute.statements
        wording = rng.choice(own) if own and rng.random() < 0.5 else choose_wording(rng, STATEMENTS, split)
        return capitalise(self._fill(wording))

    def question(self, rng: Random, split: Split) -> str:
        """A question whose answer is the value."""
        own = self.attribute.questions
        wording = rng.choice(own) if own and rng.random() < 0.5 else choose_wording(rng, QUESTIONS, split)
        return capitalise(self._fill(wording))

    def _fill(self, wording: str) -> str:
        return wording.format(attribute=self.attribute.name, entity=self.entity, value=self.value)


def random_fact(rng: Random, split: Split, attribute: Attribute | None = None) -> Fact:
    """A fact about an invented entity, of the given attribute or of any."""
    chosen = attribute or rng.choice(ATTRIBUTES)
    return Fact(chosen, entity_name(rng, chosen.owner, split), value_text(rng, chosen.value, split))
