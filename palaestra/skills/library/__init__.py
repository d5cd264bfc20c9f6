"""The skills that come with the package, by name."""

from palaestra.sim.errors import UnknownNameError
from palaestra.skills.checks import checked
from palaestra.skills.library.drawers import CLOSE, OPEN
from palaestra.skills.library.navigate import NAVIGATE
from palaestra.skills.library.pick import PICK
from palaestra.skills.library.place import PLACE
from palaestra.skills.library.press import PRESS, TURN_OFF, TURN_ON
from palaestra.skills.library.push import PUSH
from palaestra.skills.library.push_open import PUSH_OPEN
from palaestra.skills.record import Skill

SHIPPED = (NAVIGATE, PICK, PLACE, PRESS, OPEN, CLOSE, PUSH_OPEN, PUSH, TURN_ON, TURN_OFF)
SKILLS: dict[str, Skill] = {s.name: checked(s) for s in SHIPPED}  # `palaestra.skills.own` adds those of one's own


def skill(name: str) -> Skill:
    """The skill registered as `name`."""
    if name not in SKILLS:
        raise UnknownNameError("skill", name, SKILLS)
    return SKILLS[name]
