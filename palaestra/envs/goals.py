"""What goals mean: their truth on device, and the same formulas by name on the host, for words, planners and logs."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs import vocabulary
from palaestra.envs.names import ROBOT, Fact, entities
from palaestra.envs.types import ALWAYS, MANY, MAX_TERMS, UNARY, Goal, Progress, Scene, Task, num_entities
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import WorldSpec

MAX_ALTERNATIVES = 256
PLACING = ("on", "inside")  # predicates about where an object is

# --- on device ----------------------------------------------------------------------------------------------------


def terms(table: jax.Array, goal: Goal) -> jax.Array:
    """Which terms hold [G] bool, by the truth table [predicates, E, E]; unused ones do."""
    pairs = table[goal.predicate] & goal.subjects[:, :, None] & goal.targets[:, None, :]
    count = pairs.sum((1, 2))
    return ((count >= goal.at_least) & (count <= goal.at_most)) | ~goal.used


def touched(table: jax.Array, goal: Goal) -> jax.Array:
    """Which entities the stages are about [E] bool: of a denial's subjects those alone of which the contrary is true in the table."""
    true_now = (table[goal.predicate] & goal.targets[:, None]).any(2)
    about = (goal.subjects & (true_now | (goal.at_most > 0)[:, None])) | goal.targets
    return (about & (goal.used & (goal.stage != ALWAYS))[:, None]).any(0)


def start() -> Progress:
    """No stage reached, nothing broken."""
    no = jnp.asarray(False)
    return Progress(stage=jnp.zeros((), jnp.int32), broken=no, share=jnp.zeros(()), done=no)


def advance(goal: Goal, holds: jax.Array, before: Progress) -> Progress:
    """The progress after a step in which `holds` [G] of the terms hold. At most one stage is reached a step."""
    current = goal.used & (goal.stage == before.stage)
    member = current[:, None] & (goal.option[:, None] == jnp.arange(MAX_TERMS))  # [G, options]
    size, held = member.sum(0), (member & holds[:, None]).sum(0)
    reached = ((size > 0) & (held == size)).any()
    best = (held.astype(jnp.float32) / jnp.maximum(size, 1).astype(jnp.float32)).max()
    broken = before.broken | (goal.used & (goal.stage == ALWAYS) & ~holds).any()
    stages = jnp.max(jnp.where(goal.used, goal.stage, ALWAYS)) + 1
    stage = before.stage + (reached & ~broken).astype(jnp.int32)
    share = (stage.astype(jnp.float32) + jnp.where(reached, 0.0, best)) / jnp.maximum(stages, 1).astype(jnp.float32)
    share = jnp.where(broken, 0.0, share)
    return Progress(stage=stage, broken=broken, share=share, done=(stage >= stages) & ~broken)


def conjunction(
    spec: WorldSpec, predicate: jax.Array, subject: jax.Array, target: jax.Array, used: jax.Array, denied: jax.Array | None = None
) -> Goal:
    """The goal in which all of these literals [g] hold at the same time, or are false where `denied`; g is at most MAX_TERMS."""
    pad = (0, MAX_TERMS - len(used))
    used = jnp.pad(used, pad)
    true = used if denied is None else used & ~jnp.pad(denied, pad)
    zero = jnp.zeros(MAX_TERMS, jnp.int32)
    n = num_entities(spec)
    return Goal(
        predicate=jnp.where(used, jnp.pad(predicate, pad), 0).astype(jnp.int32),
        subjects=(jnp.pad(subject, pad)[:, None] == jnp.arange(n)) & used[:, None],
        targets=(jnp.pad(target, pad)[:, None] == jnp.arange(n)) & used[:, None],
        at_least=true.astype(jnp.int32),
        at_most=jnp.where(true, MANY, 0).astype(jnp.int32),
        stage=zero,
        option=zero,
        used=used,
    )


# --- by name ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Term:
    """Of the facts predicate(s, t) over all subjects and targets, at least and at most so many are true.

    Of predicates about one thing, subjects and targets are the same things, and the facts are predicate(s, s).
    """

    predicate: str
    subjects: tuple[str, ...]
    targets: tuple[str, ...]
    at_least: int = 1
    at_most: int = MANY

    @property
    def pairs(self) -> list[Fact]:
        if self.predicate in UNARY:
            return [(self.predicate, s, s) for s in self.subjects]
        return [(self.predicate, s, t) for s in self.subjects for t in self.targets]

    def holds(self, facts: frozenset[Fact]) -> bool:
        return self.at_least <= sum(pair in facts for pair in self.pairs) <= self.at_most

    def split(self) -> list["Term"]:
        """The same as terms of one pair each where that can be said: all pairs true, or none."""
        n = len(self.pairs)
        if self.at_least <= 0 and self.at_most >= n:
            return []
        if self.at_least == n or self.at_most == 0:
            low, high = (1, MANY) if self.at_least == n else (0, 0)
            return [Term(p, (s,), (t,), low, high) for p, s, t in self.pairs]
        high = self.at_most if self.at_most < n else MANY
        return [Term(self.predicate, tuple(sorted(self.subjects)), tuple(sorted(self.targets)), max(self.at_least, 0), high)]


def literal(fact: Fact, true: bool = True) -> Term:
    """The term that one fact is true, or that it is false."""
    return Term(fact[0], (fact[1],), (fact[2],), *((1, MANY) if true else (0, 0)))


def places(term: Term) -> bool:
    """Whether a term says where a thing is put or pushed, and not what the robot does or how a thing is."""
    return ROBOT not in term.subjects and term.predicate not in UNARY


Option = tuple[Term, ...]
Stage = tuple[Option, ...]
Alternative = tuple[frozenset[Fact], frozenset[Fact]]  # facts that must be true, and false


@dataclass(frozen=True, eq=False)
class Formula:
    """A goal by name. Terms keep their order, for words; formulas that say the same, literal by literal, are equal in any order."""

    stages: tuple[Stage, ...]
    always: Option = ()

    def __post_init__(self) -> None:
        """Split into literals what can be."""
        object.__setattr__(self, "stages", tuple(tuple(_canonical(option) for option in stage) for stage in self.stages))
        object.__setattr__(self, "always", _canonical(self.always))

    def _key(self) -> tuple[object, object]:
        return tuple(frozenset(map(frozenset, stage)) for stage in self.stages), frozenset(self.always)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Formula) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    @staticmethod
    def of(facts: Iterable[Fact]) -> "Formula":
        """All of these facts at the same time."""
        return Formula(((tuple(map(literal, facts)),),))

    @property
    def literals(self) -> list[Fact] | None:
        """The facts that have to be true at the same time, where that is all that the formula says."""
        if len(self.stages) != 1 or len(self.stages[0]) != 1 or self.always:
            return None
        (option,) = self.stages[0]
        plain = all(term.at_least == 1 and len(term.pairs) == 1 for term in option)
        return [term.pairs[0] for term in option] if plain else None

    def reached(self, stage: int, facts: frozenset[Fact]) -> bool:
        """Whether some option of a stage holds."""
        return any(all(term.holds(facts) for term in option) for option in self.stages[stage])

    def onward(self, stage: int, facts: frozenset[Fact]) -> int:
        """How many stages are reached, `stage` of them before, once these facts hold."""
        while stage < len(self.stages) and self.reached(stage, facts):
            stage += 1
        return stage

    def allowed(self, facts: frozenset[Fact]) -> bool:
        """Whether what must always hold does."""
        return all(term.holds(facts) for term in self.always)

    def after(self, stages: int) -> "Formula":
        """What is left once so many stages were reached."""
        return Formula(self.stages[stages:], self.always)

    @property
    def size(self) -> int:
        """How many terms the largest options of all stages have, and how many must always hold."""
        return sum(max(map(len, stage)) for stage in self.stages) + len(self.always)


def _canonical(option: Iterable[Term]) -> Option:
    return tuple(dict.fromkeys(part for term in option for part in term.split()))


def alternatives(option: Option) -> list[Alternative]:
    """An option in disjunctive normal form over facts: which must be true and which false, for each way to meet its counts."""
    found: list[Alternative] = [(frozenset(), frozenset())]
    for term in option:
        pairs = term.pairs
        most = min(term.at_most, len(pairs))
        # Where more than enough does no harm, only the least number is chosen, and the rest is left open.
        counts = [term.at_least] if most == len(pairs) else range(term.at_least, most + 1)
        ways = [
            (frozenset(chosen), frozenset() if most == len(pairs) else frozenset(pairs) - frozenset(chosen))
            for count in counts
            for chosen in itertools.combinations(pairs, count)
            if possible(chosen)
        ]
        found = [(a | b, c | d) for a, c in found for b, d in ways if not (a & d or b & c) and (len(ways) == 1 or possible(a | b))]
        if len(found) > MAX_ALTERNATIVES:
            got = f"more than {MAX_ALTERNATIVES} ways to meet {', '.join(map(term_phrase, option))}"
            raise PalaestraError(f"goal: got {got}, expected at most {MAX_ALTERNATIVES}. Fix: name fewer things to choose from")
    return list(dict.fromkeys(found))


def possible(facts: Iterable[Fact]) -> bool:
    """Whether no object is in two places and no hand is full twice."""
    places = [s for p, s, _ in facts if p in PLACING]
    held = [t for p, _, t in facts if p == "holding"]
    return len(set(places)) == len(places) and len(held) <= 1 and not set(held) & set(places)


def named_terms(spec: WorldSpec, scene: Scene, goal: Goal) -> list[tuple[int, int, int, Term]]:
    """The used terms of a goal by name: (number, stage, option, term); on the host, for one task."""
    names, predicates = {e.index: e.name for e in entities(spec, scene)}, vocabulary.predicates()
    goal = jax.tree.map(np.asarray, goal)
    found = []
    for i in map(int, np.flatnonzero(goal.used)):
        subjects, targets = (tuple(names[int(e)] for e in np.flatnonzero(row[i])) for row in (goal.subjects, goal.targets))
        term = Term(predicates[goal.predicate[i]], subjects, targets, int(goal.at_least[i]), int(goal.at_most[i]))
        found.append((i, int(goal.stage[i]), int(goal.option[i]), term))
    return found


def formula(spec: WorldSpec, task: Task) -> Formula:
    """The task's goal by name; on the host, for one task."""
    stages: dict[int, dict[int, list[Term]]] = {}
    for _, stage, option, term in named_terms(spec, task.scene, task.goal):
        stages.setdefault(stage, {}).setdefault(option, []).append(term)
    always = tuple(term for option in stages.pop(ALWAYS, {}).values() for term in option)
    return Formula(tuple(tuple(map(tuple, stages[k].values())) for k in sorted(stages)), always)


def write(said: Formula, spec: WorldSpec, scene: Scene) -> Goal:
    """The goal of a formula in this scene, as arrays of NumPy.

    Raises PalaestraError where it takes more than MAX_TERMS terms or names what does not exist.
    """
    index = {e.name: e.index for e in entities(spec, scene)}
    terms = rows(said)
    if len(terms) > MAX_TERMS:
        raise PalaestraError(f"goal: got {len(terms)} terms, expected at most {MAX_TERMS}. Fix: ask for less at once")
    n = num_entities(spec)
    used: Any = np.arange(MAX_TERMS) < len(terms)
    masks: Any = np.zeros((2, MAX_TERMS, n), bool)
    numbers: Any = np.zeros((5, MAX_TERMS), np.int32)
    subjects, targets = masks
    for i, (stage, option, term) in enumerate(terms):
        for mask, words in ((subjects[i], term.subjects), (targets[i], term.targets)):
            for word in words:
                if word not in index:
                    raise PalaestraError(f"goal: got {word!r}, expected one of: {', '.join(index)}")
                mask[index[word]] = True
        numbers[:, i] = vocabulary.number(term.predicate), term.at_least, term.at_most, stage, option
    predicate, at_least, at_most, of_stage, of_option = numbers
    return Goal(
        predicate=predicate,
        subjects=subjects,
        targets=targets,
        at_least=at_least,
        at_most=at_most,
        stage=of_stage,
        option=of_option,
        used=used,
    )


def rows(said: Formula) -> list[tuple[int, int, Term]]:
    """(stage, option, term) of each term that a goal on device takes."""
    return [(stage, option, term) for stage, option, terms in _options(said) for term in merged(terms)]


def _options(said: Formula) -> list[tuple[int, int, Option]]:
    """(stage, option, its terms)."""
    options = [(k, o, terms) for k, stage in enumerate(said.stages) for o, terms in enumerate(stage)]
    return [*options, (ALWAYS, 0, said.always)]


def merged(option: Iterable[Term]) -> list[Term]:
    """Fewer terms that say the same: literals that share predicate, target and sign become one."""
    groups: dict[tuple[str, tuple[str, ...], int], list[Term]] = {}
    rest = []
    for term in option:
        if len(term.pairs) == 1:
            groups.setdefault((term.predicate, term.targets, term.at_most), []).append(term)
        else:
            rest.append(term)
    found = []
    for (predicate, targets, at_most), group in groups.items():
        subjects = tuple(term.subjects[0] for term in group)
        found.append(Term(predicate, subjects, targets, len(group) if at_most else 0, at_most))
    return found + rest


def carried(before: Stage, option: Option, free: Iterable[str] = ()) -> Option:
    """What an option of a stage asks for without saying it: that what the stage before placed is still where it was put.

    "First put the cube on the table, then go into the kitchen" leaves the cube on the table. So of `before`, with all that it
    carries itself, the terms common to its options that want objects on or inside something are carried over, each unless `option`
    wants something of one of its objects (on, inside, held), limits one of its facts, or one of its objects is in `free`.
    Denials and what the robot does are not carried: it goes on.
    """
    common = [term for term in before[0] if all(term in other for other in before)] if before else []

    def touched(term: Term) -> bool:
        objects = set(term.subjects)
        return bool(objects & set(free)) or any(
            (bool(objects & {*other.subjects, *other.targets}) and (places(other) or other.predicate == "holding"))
            if other.at_least > 0
            else bool(set(term.pairs) & set(other.pairs))
            for other in option
        )

    return tuple(term for term in common if places(term) and term.at_least > 0 and not touched(term))


def unsaid(before: Stage, option: Option) -> tuple[Option, tuple[str, ...]]:
    """The inverse of `carried`: what to say of an option after `before`, and which objects to call free. All else is carried."""
    said = tuple(term for term in option if term not in carried(before, ()))
    free: set[str] = set()
    while True:
        kept = carried(before, said, free)
        if lost := [name for term in kept if term not in option for name in term.subjects]:
            free |= set(lost)
        elif missing := tuple(term for term in option if term not in said + kept):
            said += missing
        elif not said:  # the same again: something has to be said
            said = option[:1]
        else:
            return said, tuple(sorted(free))


# --- in short -----------------------------------------------------------------------------------------------------

_WORDS = {"near": "near", "holding": "holding", "on": "on", "inside": "in", "in_room": "in", "open": "open", "pressed": "pressed"}


def fact_phrase(fact: Fact) -> str:
    """A fact for the viewer and logs: "red_cube on blue_table", "robot in kitchen", "green_door open"."""
    predicate, subject, target = fact
    if predicate in UNARY:
        return f"{subject} {predicate}"
    return f"{subject} {_WORDS.get(predicate, predicate)} {target}"


def term_phrase(term: Term) -> str:
    """A term for the viewer and logs: "red_cube not on blue_table", "exactly 2 of red_cube, blue_cube, red_ball in red_bin"."""
    n, subjects = len(term.pairs), ", ".join(term.subjects)
    rest = term.predicate if term.predicate in UNARY else f"{_WORDS.get(term.predicate, term.predicate)} {' or '.join(term.targets)}"
    if term.at_most == 0:
        return f"{subjects} not {rest}"
    one_of_places = len(term.subjects) == 1 and term.at_least == 1 and term.at_most >= n
    if term.at_least == n or one_of_places:
        return f"{subjects} {rest}"
    if term.at_most >= n:
        count = f"at least {term.at_least}"
    else:
        count = f"exactly {term.at_least}" if term.at_least == term.at_most else f"{term.at_least} to {term.at_most}"
    return f"{count} of {subjects} {rest}"


def phrases(terms: Iterable[tuple[int, int, Term]]) -> list[str]:
    """A line for each (stage, option, term): "2. or red_cube on blue_table", "always red_cube not in green_bin"."""
    rows = list(terms)
    ordered = max((stage for stage, _, _ in rows), default=0) > 0
    lines = []
    for stage, option, term in rows:
        head = "always " if stage == ALWAYS else f"{stage + 1}. " if ordered else ""
        lines.append(f"{head}{'or ' if option else ''}{term_phrase(term)}")
    return lines


def describe(said: Formula) -> list[str]:
    """The terms of a formula in short, a line each."""
    return phrases((stage, option, term) for stage, option, terms in _options(said) for term in terms)


def family(said: Formula) -> str:
    """What kind of goal it is: plain, order, chain (each stage a literal for itself), either, clear, exactly, at least or all (of
    several to one place); "+ rule" with one."""
    terms = said.stages[0][0]
    if len(said.stages) > 1 and all(Formula((stage,)).literals and len(stage[0]) == 1 for stage in said.stages):
        kind = "chain"
    elif len(said.stages) > 1:
        kind = "order"
    elif len(said.stages[0]) > 1:
        kind = "either"
    elif any(term.at_most == 0 for term in terms):
        kind = "clear"
    elif counts := [term for term in terms if len(term.pairs) > 1]:
        kind = "exactly" if counts[0].at_most < len(counts[0].pairs) else "at least"
    else:
        kind = "all" if len(terms) > 1 and len({(term.predicate, term.targets) for term in terms}) == 1 else "plain"
    return f"{kind} + rule" if said.always else kind
