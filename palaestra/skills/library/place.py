"""place(object, receptacle): put what is held on a table or into a bin, and let go of it."""

import jax
import jax.numpy as jnp

from palaestra.envs import drawers, observation
from palaestra.envs.drawers import DRAWN
from palaestra.envs.generation import poses
from palaestra.envs.generation.generator import SceneRange, sample_scene
from palaestra.envs.types import INSIDE, ON, Scene, receptacle_boxes
from palaestra.sim.drawers import DRAWER_FLOOR, DRAWER_TRAVEL
from palaestra.sim.world import BIN_FLOOR, World, WorldSpec
from palaestra.skills.library import starts
from palaestra.skills.library.ways import to_reach
from palaestra.skills.record import ROBOT, Literal, Param, Skill, Start, View, tolerance

_ABOVE = 0.05  # m above table or rim, while not yet over it
_MARGIN = 0.06  # m from the edge, where it should be put down
_QUARTER = 0.03  # m, from the middle of a quarter, where it may be put down
_APART = 1.5  # as far from what lies there already, in half sizes of both: cubes that are turned meet at 1.42
_OTHERS = 2  # of what lies there are observed, the nearest ones


def _box(world: World, view: View) -> tuple[jax.Array, jax.Array]:
    """Middle [2] m and half sizes [2] m of where it can be put from above; of a drawer, what the cabinet does not cover."""
    spec, which = world.spec, view.args[1]
    middle, half = view.geo.position[which, :2], view.geo.half[which]
    if not spec.drawers:
        return middle, half
    first = 1 + spec.objects + spec.receptacles - spec.drawers
    at, sides = drawers.uncovered(view.scene.layout, world.drawer_q(view.physics.qpos))
    is_drawer, number = (which >= first) & (which < first + spec.drawers), jnp.clip(which - first, 0, spec.drawers - 1)
    return jnp.where(is_drawer, at[number], middle), jnp.where(is_drawer, sides[number], half)


def _to_target(world: World, view: View) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Offset from object to where it goes, world frame [2] m: a table's middle, or a quarter of a bin or a drawer that is free, so that
    there is room for more; distance to where it may be put down, and height of the object's underside above table top or rim, [] m."""
    obj, recep = view.args[0], view.args[1]
    at, (middle, half) = view.geo.position[obj, :2], _box(world, view)
    offset = middle - at
    corners = jnp.asarray([[x, y] for x in (-0.5, 0.5) for y in (-0.5, 0.5)])
    quarters = offset + corners * half  # [4, 2]
    taken = jax.vmap(lambda shift: _crowded(world, view, shift))(quarters)
    quarter = quarters[jnp.argmin(jnp.linalg.norm(quarters, axis=-1) + 10.0 * taken)]
    is_bin = _is_bin(world, view)
    aside = jnp.where(
        is_bin,
        jnp.maximum(jnp.linalg.norm(quarter) - _QUARTER, 0.0),
        jnp.linalg.norm(jnp.maximum(jnp.abs(offset) - (half - _MARGIN), 0.0)),
    )
    offset = jnp.where(is_bin, quarter, offset)
    height = view.geo.position[obj, 2] - view.scene.layout.object_half[obj - 1] - view.geo.position[recep, 2]
    return offset, aside, height


def _others(world: World, view: View) -> tuple[jax.Array, jax.Array]:
    """What lies on or in the receptacle already: offsets from what is held [O, 2] m, world frame, and which do [O] bool."""
    obj, recep, objects = view.args[0] - 1, view.args[1], slice(1, 1 + world.spec.objects)
    at = view.geo.position[objects, :2]
    over = (jnp.abs(at - view.geo.position[recep, :2]) <= view.geo.half[recep]).all(-1)
    return at - at[obj], over & view.scene.layout.object_used & (jnp.arange(world.spec.objects) != obj)


def _crowded(world: World, view: View, shift: jax.Array | float = 0.0) -> jax.Array:
    """How much nearer what is held would be, moved by `shift` [2] m, to something that lies there than it may be put down [] m."""
    offset, lies = _others(world, view)
    half = view.scene.layout.object_half
    apart = _APART * (half + half[view.args[0] - 1]) - jnp.linalg.norm(offset - shift, axis=-1)
    return jnp.where(lies, jnp.maximum(apart, 0.0), 0.0).max(initial=0.0)


def _nearest(world: World, view: View) -> jax.Array:
    """Of the nearest things that lie there: where, base frame, relative to what is held, and whether there is one [3 x _OTHERS]."""
    offset, lies = _others(world, view)
    count = min(_OTHERS, world.spec.objects)
    _, which = jax.lax.top_k(jnp.where(lies, -jnp.linalg.norm(offset, axis=-1), -jnp.inf), count)
    there = lies[which, None]
    near = jnp.concatenate(
        [jnp.where(there, jnp.clip(5 * observation.to_base(view.geo.yaw, offset[which]), -2, 2), 0.0), there.astype(jnp.float32)], -1
    )
    return jnp.zeros((_OTHERS, 3)).at[:count].set(near).reshape(-1)


def _is_bin(world: World, view: View) -> jax.Array:
    return view.args[1] >= 1 + world.spec.objects + world.spec.tables


def _placed(view: View) -> jax.Array:
    return view.table[ON, view.args[0], view.args[1]] | view.table[INSIDE, view.args[0], view.args[1]]


def observe(world: World, view: View) -> jax.Array:
    obj, recep = view.args[0], view.args[1]
    offset, aside, height = _to_target(world, view)
    offset = observation.to_base(view.geo.yaw, offset)
    middle, half = _box(world, view)
    in_hand = observation.to_base(view.geo.yaw, view.geo.position[obj] - view.geo.grip)
    from_base = observation.to_base(view.geo.yaw, middle - view.geo.robot)
    turn = 4 * view.geo.yaw
    return jnp.concatenate(
        [
            observation.proprioception(world, view.physics, view.ctrl),
            jnp.clip(20 * in_hand, -3, 3),
            jnp.clip(2 * offset, -3, 3),
            jnp.tanh(8 * offset),
            2 * from_base,
            10 * half - 1.5,
            jnp.stack(
                [
                    jnp.cos(turn),
                    jnp.sin(turn),
                    jnp.tanh(8 * aside),
                    jnp.clip(4 * height, -2, 2),
                    jnp.tanh(15 * height),
                    5 * view.geo.position[recep, 2],
                    _is_bin(world, view).astype(jnp.float32),
                    jnp.asarray(world.spec.are("ball"))[obj - 1].astype(jnp.float32),
                    40 * (view.scene.layout.object_half[obj - 1] - 0.03),
                    view.geo.grasped[obj - 1].astype(jnp.float32),
                    _placed(view).astype(jnp.float32),
                ]
            ),
            _nearest(world, view),
            observation.surroundings(world, view.scene, view.geo),
        ]
    )


def reward(world: World, view: View) -> jax.Array:
    offset, aside, height = _to_target(world, view)
    way = to_reach(world, view.geo, view.geo.position[view.args[0], :2] + offset)
    aside += _crowded(world, view)
    over = aside < 0.02
    low = jnp.where(_is_bin(world, view), -0.01, 0.005)  # m, from where it may be let go
    up = jnp.where(over, jnp.maximum(height - low, 0.0), jnp.maximum(_ABOVE - height, 0.0) + 0.05)
    come = 0.5 * tolerance(way, 1.0) + 0.5 * tolerance(aside + up, 0.15)
    ready = over & (height <= low + 0.015)
    opening = jnp.where(ready, jnp.clip(1.0 - view.ctrl[4] / 0.053, 0.0, 1.0), 0.0)
    held = view.geo.grasped[view.args[0] - 1]
    return jnp.where(_placed(view), 1.0, jnp.where(held | ready, 0.6 * come + 0.2 * opening, 0.0))


def finished(world: World, view: View) -> jax.Array:
    return world.object_speed(view.physics.qvel)[view.args[0] - 1] < 0.1


def failed(world: World, view: View) -> jax.Array:
    del world
    return view.geo.released[view.args[0] - 1] & ~_placed(view)


def start(key: jax.Array, world: World, easy: jax.Array) -> Start:
    """The robot anywhere near a receptacle, an object in the hand; bins and open drawers may have other things in them. Easy ones: the
    object above the receptacle."""
    k_scene, k_obj, k_recep, k_pose, k_easy, k_jitter, k_hand, k_out, k_lies = jax.random.split(key, 9)
    spec = world.spec
    scene = sample_scene(k_scene, world, SceneRange.make(spec, on_table=0.1))
    out = jax.random.uniform(k_out, (spec.drawers,), minval=DRAWN + 0.005, maxval=DRAWER_TRAVEL)
    scene = scene.replace(layout=scene.layout.replace(drawer_out=out))
    held = starts.choose(k_obj, scene.layout.object_used)
    others = scene.layout.object_used & (jnp.arange(spec.objects) != held)
    boxes, halves, tops = receptacle_boxes(spec, scene)
    over = (jnp.abs(scene.layout.object_pos[:, None, :2] - boxes) <= halves).all(-1) & others[:, None]
    recep = starts.choose(k_recep, ~over.any(0))
    centre, side = boxes[recep], halves[recep]
    scene = _filled(k_lies, world, scene, others & (recep >= spec.tables), centre, side, recep)
    q, found = starts.pose_near(k_pose, world, scene, centre, side, held)
    jitter = jax.random.uniform(k_jitter, (5,), minval=-1.0, maxval=1.0)
    yaw = jnp.pi * jitter[2]
    at = centre - world.body.reach * jnp.stack([jnp.cos(yaw), jnp.sin(yaw)]) + 0.08 * jitter[:2]
    lift = tops[recep] - world.body.grip_height + 0.12 + 0.05 * jitter[3]
    finger = poses.held_finger(world, scene, held)
    simple = jnp.stack([at[0], at[1], yaw, jnp.clip(lift, *world.body.lift_range), finger, finger])
    use_simple = jax.random.bernoulli(k_easy, easy) & ~starts.collides(world, scene, simple, held)
    q = jnp.where(use_simple, simple, q)
    scene = poses.in_hand(k_hand, world, scene, q, held)
    scene = scene.replace(layout=scene.layout.replace(robot_q=q))
    args = jnp.stack([1 + held, 1 + spec.objects + recep])
    return Start(scene=scene, ctrl=starts.set_points(world, scene, q, held), args=args, valid=found | use_simple)


def _filled(key: jax.Array, world: World, scene: Scene, may: jax.Array, centre: jax.Array, side: jax.Array, recep: jax.Array) -> Scene:
    """The scene with one of these objects [O] bool anywhere in a bin or a drawer, or up to three, each in a quarter of its own, or none;
    key is consumed."""
    k_how, k_order, k_at, k_yaw = jax.random.split(key, 4)
    spec, lay = world.spec, scene.layout
    quarter = jax.random.permutation(k_order, jnp.arange(spec.objects))  # one for each object; those above three get none
    lies = may & (quarter < jax.random.randint(k_how, (), 0, 4))
    corner = jnp.stack([quarter % 2, quarter // 2 % 2], -1).astype(jnp.float32) * 2.0 - 1.0
    jitter = jax.random.uniform(k_at, (spec.objects, 2), minval=-1.0, maxval=1.0)
    # One alone may lie anywhere.
    at = centre + jnp.where(lies.sum() == 1, jitter * (side - 0.05), 0.5 * side * corner + 0.012 * jitter)
    floor = jnp.where(recep >= spec.receptacles - spec.drawers, DRAWER_FLOOR, BIN_FLOOR)
    inside = jnp.concatenate([at, (floor + lay.object_half)[:, None]], -1)
    yaw = jax.random.uniform(k_yaw, (spec.objects,), minval=-0.3, maxval=0.3)
    pos, turn = jnp.where(lies[:, None], inside, lay.object_pos), jnp.where(lies, yaw, lay.object_yaw)
    return scene.replace(layout=lay.replace(object_pos=pos, object_yaw=turn))


PLACE = Skill(
    name="place",
    version=3,
    doc="Put the object that the hand holds on or in a receptacle, and let go of it. Needs the robot near the receptacle.",
    params=(Param("object", ("object",)), Param("receptacle", ("table", "bin", "plate", "drawer", "shelf", "hamper"))),
    precondition=(Literal(("holding",), ROBOT, "object"), Literal(("near",), ROBOT, "receptacle")),
    effect=(Literal(("on", "inside"), "object", "receptacle"), Literal(("holding",), ROBOT, "object", negated=True)),
    horizon=200,
    commands=(0, 1, 2, 3, 4),
    observation_size=observation.PROPRIOCEPTION + 22 + 3 * _OTHERS + observation.SURROUNDINGS,
    observe=observe,
    reward=reward,
    finished=finished,
    flags=tuple(observation.PROPRIOCEPTION + i for i in (17, 18, 20, 21, *(22 + 3 * k + 2 for k in range(_OTHERS)))),
    failed=failed,
    start=start,
    train_spec=WorldSpec(cubes=2, balls=2, tables=1, bins=1, rooms=1, drawers=1),
)
