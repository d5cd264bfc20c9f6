"""What makes a house more than its things: doors that are shut, and rules that turn a condition into an effect.

On device a rule is a row of `types.Rules`; by name, for words, planners and logs, it is a `Rule`.
"""

from dataclasses import dataclass

from palaestra.envs.names import Fact


@dataclass(frozen=True)
class Door:
    """A hinged door in a doorway. Shut doors let no one through; they open by rules alone."""

    name: str
    rooms: tuple[str, str]  # that its doorway joins


@dataclass(frozen=True)
class Rule:
    """Whenever all facts of the condition hold, the effect comes about: a door opens, or objects turn into another one."""

    condition: tuple[Fact, ...]
    opens: str = ""  # a door
    lasting: bool = True  # the door stays open; else it is open only while the condition holds
    consumes: tuple[str, ...] = ()  # objects that vanish
    product: str = ""  # the object that appears where the last of the consumed ones was: on, inside or on the floor as that was


@dataclass(frozen=True)
class Mechanics:
    """Doorways and rules of a scene. Rooms and doorways form a tree: between two rooms there is one way."""

    passages: tuple[tuple[str, str], ...] = ()  # rooms joined by a doorway without a door
    doors: tuple[Door, ...] = ()
    rules: tuple[Rule, ...] = ()
