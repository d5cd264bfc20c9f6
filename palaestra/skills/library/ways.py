"""Ways of the robot that no straight line tells: of the hand to a place, and of the base to behind a crate."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from palaestra.envs import house, observation
from palaestra.envs.predicates import Geometry
from palaestra.envs.types import button_entity, obstructs
from palaestra.sim.world import World
from palaestra.skills.record import View

_PLACES = 24  # around the crate, where the robot may stand
_STEP = 0.6  # rad around the crate, to the place that the robot heads for
_ALMOST = 0.3  # rad, from behind the crate: there it comes close
_NARROW, _ROOMY = 0.01, 0.05  # m, between the robot and the crate on the way around it, and where there is room for more
_TOUCH = 0.01  # m, by which the robot may seem to be in what stands there, and be beside it
_SHOVE = 0.15  # m, how far a crate must be free to go to be pushed aside
_BACKWARD = -0.3  # the cosine, to where it has to go, of how a crate is pushed aside at worst


class Behind(NamedTuple):
    """Where a crate is pushed now, and the robot's way to behind it, in the plane."""

    ahead: jax.Array  # [2] unit vector, where it is pushed
    aside: jax.Array  # [] bool: not straight on, as the robot cannot get there, or not behind it
    lacking: jax.Array  # [] of the robot's radius, what there lacks of room for it to push straight on, 0 to 1
    turn: jax.Array  # [] rad, around the crate to behind it, positive to the left; up to a whole turn where the short way is blocked
    point: jax.Array  # [2] m, where the robot goes next
    reach: jax.Array  # [] m, from the crate's middle to the robot's, where it touches it behind
    room: jax.Array  # [] m, from the crate to the nearest thing that could be in the robot's way


def to_reach(world: World, geo: Geometry, at: jax.Array) -> jax.Array:
    """The way of the grip point to a place [2] m, as the base moves and turns: by distance and by angle [] m.

    The straight one has a dead end: with its back to what lies on a table, and the table behind it, the robot comes nearer only by
    going away first.
    """
    to = observation.to_base(geo.yaw, at - geo.robot)
    away, angle = jnp.linalg.norm(to), jnp.arctan2(to[1], to[0])
    return jnp.hypot(away - world.body.reach, world.body.reach * angle)


def to_behind(world: World, view: View, crate: jax.Array, ahead: jax.Array) -> Behind:
    """The way to behind a crate (its entity) that has to go along `ahead` [2], a unit vector."""
    geo = view.geo
    stands = observation.obstacles(world, view.scene, geo, crate)
    at, wide, radius = geo.position[crate, :2], geo.half[crate, 0], world.body.base_radius
    cos, sin = observation.quarter_turn(world, view.physics, geo)[crate - 1]
    turned = jnp.arctan2(sin, cos) / 4 + geo.yaw  # the crate's, modulo a quarter turn

    def reach(angle: jax.Array) -> jax.Array:
        """From the crate's middle to the robot's that touches it from this direction [..] m: its face, or its corner."""
        off = jnp.abs(jnp.stack([jnp.cos(angle - turned), jnp.sin(angle - turned)]))
        near, far = off.max(0), off.min(0)
        face = (wide + radius) / near
        corner = wide * (near + far) + jnp.sqrt(jnp.maximum(radius**2 - jnp.square(wide * (near - far)), 0.0))
        return jnp.where(face * far <= wide, face, corner)

    distance = functools.partial(_distance, boxes=stands)
    places = jnp.arange(_PLACES, dtype=jnp.float32) * (2 * jnp.pi / _PLACES)
    unit = jnp.stack([jnp.cos(places), jnp.sin(places)], -1)
    off = geo.robot - at
    here = jnp.arctan2(off[1], off[0])
    to_place = jnp.mod(places - here, 2 * jnp.pi)  # how far around each is, to the left
    shut = distance(at + (reach(places) + _NARROW)[:, None] * unit) < radius - _TOUCH

    def blocked(left: jax.Array) -> jax.Array:
        """Whether the ways to there, `left` [..] rad around to the left, are shut: to the left and to the right [2, ..]."""
        nearer = to_place < left[..., None]
        return jnp.stack([(shut & nearer).any(-1), (shut & ~nearer).any(-1)])

    opposite = jnp.arctan2(-ahead[1], -ahead[0])
    lacking = jnp.clip(1.0 - distance(at - reach(opposite) * ahead) / radius, 0.0, 1.0)
    barred = (lacking > 0.0) | blocked(jnp.mod(opposite - here, 2 * jnp.pi)).all()
    possible = (distance(at + reach(places)[:, None] * unit) > radius) & ~blocked(to_place).all(0)
    for part in (0.5, 1.0):
        possible &= distance(at - part * _SHOVE * unit) > 0.9 * wide
    along = jnp.where(possible, -unit @ ahead, -jnp.inf)
    best = jnp.argmax(along)
    aside = barred & (along[best] > _BACKWARD)
    ahead, behind = jnp.where(aside, -unit[best], ahead), jnp.where(aside, places[best], opposite)

    left = jnp.mod(behind - here, 2 * jnp.pi)
    length = jnp.stack([left, 2 * jnp.pi - left]) + jnp.where(blocked(left), 10.0, 0.0)
    turn = jnp.where(length[0] <= length[1], left, left - 2 * jnp.pi)
    onward = here + jnp.clip(turn, -_STEP, _STEP)
    way = jnp.stack([jnp.cos(onward), jnp.sin(onward)])
    roomy = distance(at + (reach(onward) + _ROOMY) * way) > radius
    apart = jnp.where(jnp.abs(turn) < _ALMOST, 0.0, jnp.where(roomy, _ROOMY, _NARROW))
    point = at + (reach(onward) + apart) * way
    return Behind(ahead, aside, lacking, turn, point, reach(behind), room_around(world, view, crate))


def room_around(world: World, view: View, crate: jax.Array) -> jax.Array:
    """From a crate (its entity), as if it stood square, to the nearest thing that could be in the robot's way [] m."""
    at, half = view.geo.position[crate, :2], view.geo.half[crate, 0]
    return _distance(at, observation.obstacles(world, view.scene, view.geo, crate)) - half


def _distance(place: jax.Array, boxes: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
    """From places [.., 2] m to the nearest of the boxes (as `observation.obstacles` has them) that are there [..] m."""
    centre, half, there = boxes
    gap = jnp.linalg.norm(jnp.maximum(jnp.abs(place[..., None, :] - centre) - half, 0.0), axis=-1)
    return jnp.where(there, gap, jnp.inf).min(-1, initial=jnp.inf)


def past(world: World, view: View, start: jax.Array, point: jax.Array, but: jax.Array, wide: float) -> jax.Array:
    """Where to head for from `start` instead of a point [2] m, where furniture, a crate or a button stands between: past its corner [2] m.

    `but` [n]: entities that are not in the way; `wide`: half of what goes past, m. What is nearer to `start` than that is passed as near.
    """
    spec, lay, geo = world.spec, view.scene.layout, view.geo
    crates = 1 + jnp.arange(spec.portables, spec.objects)
    posts = button_entity(spec, 0) + jnp.arange(spec.buttons)
    entity = jnp.concatenate([1 + spec.objects + jnp.arange(spec.receptacles), crates, posts])
    centre = jnp.concatenate([lay.fixture_pos[spec.walls :, :2], geo.position[crates, :2], lay.button_pos])
    half = jnp.concatenate([lay.fixture_half[spec.walls :, :2], geo.half[crates], geo.half[posts]])
    there = jnp.concatenate(
        [
            view.scene.fixture_used[spec.walls :] & obstructs(spec, lay)[spec.walls :],
            lay.object_used[spec.portables :],
            view.scene.button_used,
        ]
    )
    there &= (entity[:, None] != but).all(-1) & ~(jnp.abs(point - centre) <= half).all(-1)  # nor what the point is on or in
    gap = (jnp.abs(start - centre) - half).max(-1)
    return house.past(view.scene, start, point, centre, half - jnp.clip(wide - gap + _TOUCH, 0.0, wide)[:, None], there, wide)
