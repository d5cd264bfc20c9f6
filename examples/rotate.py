"""rotate(object, target): turn a cube to face something. A skill in one file, as docs/your-own-skill.md makes it step by step."""

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs.observation import quarter_turn
from palaestra.envs.predicates import Geometry
from palaestra.envs.types import KINDS, Scene, entity_kinds, entity_used
from palaestra.envs.vocabulary import Predicate, number
from palaestra.sim.engine import PhysicsState
from palaestra.sim.world import World, WorldSpec
from palaestra.skills.library.pick import PICK
from palaestra.skills.library.starts import choose
from palaestra.skills.record import Literal, Param, Skill, Start, View, tolerance

TARGETS = ("table", "shelf", "plate", "bin", "hamper", "drawer", "button", "toggle")  # what stays where it is
CLOSE, CLOSER, MOST = np.deg2rad([10, 8, 45])  # faces it; the hand may let go; as far off as the nearest of four sides can be


def off(world: World, physics: PhysicsState, geo: Geometry) -> jax.Array:
    """By how much the nearest side of every object is turned away from everything [O, E] rad, -MOST to MOST."""
    way = geo.position[None, :, :2] - geo.position[1 : 1 + world.spec.objects, None, :2]
    cos, sin = jnp.moveaxis(quarter_turn(world, physics, geo), -1, 0)  # of four times its turn, seen from the hand
    bearing = jnp.arctan2(way[..., 1], way[..., 0]) - geo.yaw
    return (bearing - jnp.arctan2(sin, cos)[:, None] / 4 + MOST) % (2 * MOST) - MOST


def facing(world: World, scene: Scene, physics: PhysicsState, geo: Geometry) -> jax.Array:
    """Which things a side of which object faces, as it lies there, let go of: the truth table [E, E]. A ball has no sides."""
    true = (jnp.abs(off(world, physics, geo)) <= CLOSE) & (geo.released & world.spec.are("cube"))[:, None]
    return jnp.zeros((true.shape[1],) * 2, bool).at[1 : 1 + world.spec.objects].set(true)


def seen(world: World, view: View) -> tuple[jax.Array, jax.Array]:
    """By how much it is turned away from the target [] rad, and whether it faces it [] bool."""
    index, target = view.args
    return off(world, view.physics, view.geo)[index - 1, target], view.table[number("facing"), index, target]


def observe(world: World, view: View) -> jax.Array:
    """How the object and the hand are turned to the target, and what picking up observes."""
    way, (error, true) = view.geo.position[view.args[1], :2] - view.geo.position[view.args[0], :2], seen(world, view)
    hand = 4 * (jnp.arctan2(way[1], way[0]) - view.geo.yaw)
    return jnp.append(jnp.stack([error / MOST, jnp.tanh(8 * error), jnp.cos(hand), jnp.sin(hand), true]), PICK.observe(world, view))


def around(world: World, view: View) -> jax.Array:
    return jnp.linalg.norm(view.geo.position[view.args[0]] - view.geo.grip) < 0.035  # the hand, and so it was turned, not knocked


def reward(world: World, view: View) -> jax.Array:
    """Take hold of it (what picking pays for that, and not for lifting), turn it where it lies, let go."""
    (error, true), near = seen(world, view), around(world, view)
    held, opened = jnp.minimum(PICK.reward(world, view), 0.35), jnp.clip(1.0 - view.ctrl[4] / 0.05, 0.0, 1.0)
    way = jnp.where(near & (jnp.abs(error) < CLOSER), 0.7 + 0.2 * opened, held + 0.25 * near * (1 - jnp.abs(error) / MOST))
    still = tolerance(world.object_speed(view.physics.qvel)[view.args[0] - 1], 0.2)
    return jnp.where(near & true, 1.0, way * (0.5 + 0.5 * still))


def start(key: jax.Array, world: World, easy: jax.Array) -> Start:
    """As picking starts, with anything that stands in the house as the target."""
    k_pick, k_target = jax.random.split(key)
    begun = PICK.start(k_pick, world, easy)
    stands = np.append(False, np.isin(entity_kinds(world.spec), [KINDS.index(kind) for kind in TARGETS]))
    target = choose(k_target, entity_used(world.spec, begun.scene) & stands)
    return begun.replace(args=begun.args.at[1].set(target))


FACING = Predicate(
    subjects=("object",),
    targets=TARGETS,
    verb="faces",
    denial="does not face",
    ends=(("facing", "s", "_"),),  # with this fact: the same subject, and anything else
    ended_by=(("holding", "_", "s"),),  # with which others this one ends
    rule="A cube faces one thing at a time, and nothing once it is picked up.",
    holds=facing,
)
PREDICATES = {"facing": FACING}
SKILL = Skill(
    name="rotate",
    version=2,
    doc="Turn a cube where it lies, so that one of its sides faces the target. Needs an empty hand and the robot near the cube.",
    params=(Param("object", ("object",)), Param("target", TARGETS)),
    precondition=(*PICK.precondition, *(Literal((p,), "object", "target", negated=True) for p in ("on", "facing"))),
    effect=(Literal(("facing",), "object", "target"),),
    horizon=200,
    commands=PICK.commands,
    observation_size=5 + PICK.observation_size,
    observe=observe,
    reward=reward,
    finished=around,
    failed=lambda world, view: PICK.failed(world, view) | ~jnp.asarray(world.spec.are("cube"))[view.args[0] - 1],
    start=start,
    train_spec=WorldSpec(cubes=2, balls=0, tables=1, bins=1, rooms=2, buttons=1),
    gate=0.8,
    flags=(4, *(5 + i for i in PICK.flags)),
)
