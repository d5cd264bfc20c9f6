"""What a skill is: one record. From it are derived the schema that a model is held to, its documentation, the symbolic
operator, the applicability mask, the training environment and the check after execution."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import struct

from palaestra.envs import vocabulary
from palaestra.envs.predicates import Geometry, geometry, truths
from palaestra.envs.types import Scene, kinds_of
from palaestra.sim.engine import PhysicsState
from palaestra.sim.world import World, WorldSpec

# Kinds of things that many houses do not have.
MECHANISMS = ("plate", "door", "button", "drawer", "crate", "shelf", "hamper", "swing", "toggle")
ROBOT = "robot"


@dataclass(frozen=True)
class Param:
    """A typed argument: the name of one entity of one of these kinds."""

    name: str
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Literal:
    """A predicate over parameters (or `robot`, or `_` for "anything"). Of several predicates, that which fits the kinds is meant:
    things lie `on` tables and `inside` bins."""

    predicates: tuple[str, ...]
    subject: str
    target: str
    negated: bool = False


class View(struct.PyTreeNode, kw_only=True):
    """What a skill's functions see of one environment."""

    scene: Scene
    physics: PhysicsState
    ctrl: jax.Array  # [nu] set points in force
    geo: Geometry
    table: jax.Array  # [predicates, E, E] bool
    args: jax.Array  # [2] int32: entities, in the order of the parameters; 0 where there is none


class Start(struct.PyTreeNode, kw_only=True):
    """A state to begin in. What does not hold the precondition, or is not `valid`, is drawn again."""

    scene: Scene
    ctrl: jax.Array  # [nu] set points
    args: jax.Array  # [2] int32
    valid: jax.Array  # [] bool: such a state was found, and nothing overlaps


@dataclass(frozen=True)
class Skill:
    """A skill. The functions are pure, for one environment, and take (world, view)."""

    name: str
    version: int
    doc: str  # what it does, for people and for a model's prompt
    params: tuple[Param, ...]
    precondition: tuple[Literal, ...]
    effect: tuple[Literal, ...]
    horizon: int  # control steps after which it has failed
    commands: tuple[int, ...]  # which components of the action its policy drives; the others stay zero: "as it is"
    observation_size: int
    observe: Callable[[World, View], jax.Array]  # [observation_size]
    reward: Callable[[World, View], jax.Array]  # [] in [0, 1]: how near the effect is
    finished: Callable[[World, View], jax.Array]  # [] bool: beside the effect, what "done" takes
    failed: Callable[[World, View], jax.Array]  # [] bool: it cannot succeed any more
    start: Callable[[jax.Array, World, jax.Array], "Start"]  # (key, world, share of easy ones)
    train_spec: WorldSpec  # the world it is trained in
    flags: tuple[int, ...] = ()  # components of the observation that are 0 or 1, on which a sensor's noise is not
    gate: float = 0.9  # the success rate that weights must show, with the lower end of its interval, to enter the library
    file: Path | None = None  # that it was read from, beside which its weights and its card lie; None for what comes with the package

    @property
    def id(self) -> str:
        """What the command line calls it: its name, or the file of one's own."""
        return str(self.file or self.name)

    @property
    def action_size(self) -> int:
        return len(self.commands)

    def fits(self, spec: WorldSpec) -> bool:
        """Whether a world has something for each of its parameters: where there are no buttons, none can be pressed."""
        return all(kinds_of(spec).intersection(param.kinds) for param in self.params)

    def full_action(self, world: World, action: jax.Array) -> jax.Array:
        """The body's action [.., nu_action] of the policy's [.., action_size]."""
        zero = jnp.zeros((*action.shape[:-1], len(world.body.action_names)), action.dtype)
        return zero.at[..., jnp.asarray(self.commands)].set(action)

    def holds(self, literals: tuple[Literal, ...], view: View) -> jax.Array:
        """Whether all of these literals hold in the simulator's truth table [] bool."""
        return jnp.stack([self.literal_holds(literal, view) for literal in literals] or [jnp.asarray(True)]).all()

    def literal_holds(self, literal: Literal, view: View) -> jax.Array:
        """Whether one literal holds [] bool."""
        rows = view.table[jnp.asarray([vocabulary.number(p) for p in literal.predicates])].any(0)  # [E, E]
        at = {p.name: view.args[i] for i, p in enumerate(self.params)} | {ROBOT: jnp.asarray(0)}
        rows = rows.any(0) if literal.subject == "_" else rows[at[literal.subject]]
        value = rows.any(0) if literal.target == "_" else rows[at[literal.target]]
        return ~value if literal.negated else value


def view(world: World, scene: Scene, physics: PhysicsState, ctrl: jax.Array, args: jax.Array) -> View:
    """What a skill called with `args` sees of this moment."""
    geo = geometry(world, scene, physics, ctrl)
    table = truths(world, scene, physics, geo)
    return View(scene=scene, physics=physics, ctrl=ctrl, geo=geo, table=table, args=args)


def tolerance(x: jax.Array, scale: float) -> jax.Array:
    """1 where x is 0, falling to 0.24 at |x| = scale and to 0 beyond: 1 - tanh(|x| / scale)."""
    return 1.0 - jnp.tanh(jnp.abs(x) / scale)
