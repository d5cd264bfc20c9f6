"""Toggles: buttons that a push turns on, and the next one off. Between pushes the cap springs back.

What a toggle remembers is in its set point, which is part of the state: whether it is on, and whether it was pressed and has not come up
since, so that one push toggles once however long it lasts and however the cap trembles. Pure, for one environment.
"""

import jax
import jax.numpy as jnp

from palaestra.sim.world import BUTTON_PRESSED, TOGGLE_HELD, TOGGLE_ON, WorldSpec

RELEASED = BUTTON_PRESSED / 2  # m, down by less than this a cap has come up again


def set_points(on: jax.Array, held: jax.Array | bool = False) -> jax.Array:
    """The set points [S] m of toggles that are `on` [S] bool and `held` down [S] bool."""
    return jnp.where(on, -TOGGLE_ON, 0.0) - jnp.where(held, TOGGLE_HELD, 0.0)


def are_on(spec: WorldSpec, ctrl: jax.Array) -> jax.Array:
    """Which toggles are on [S] bool, by the set points in force [nu]."""
    return _own(spec, ctrl) < -(TOGGLE_ON + TOGGLE_HELD) / 2


def toggled(spec: WorldSpec, ctrl: jax.Array, up: jax.Array) -> jax.Array:
    """The set points [nu] after toggles that are pressed now, and were up before, have turned; `up` [U] m: how far buttons are up."""
    if not spec.toggles:
        return ctrl
    now, on, up = _own(spec, ctrl), are_on(spec, ctrl), up[spec.buttons - spec.toggles :]
    held = now < set_points(on) - TOGGLE_HELD / 2
    pressed = (up < -BUTTON_PRESSED) & ~held
    first = len(ctrl) - spec.hampers - spec.toggles
    return ctrl.at[first : first + spec.toggles].set(set_points(on ^ pressed, pressed | (held & (up < -RELEASED))))


def _own(spec: WorldSpec, ctrl: jax.Array) -> jax.Array:
    """Of all set points [nu], those of toggles [S] m."""
    end = len(ctrl) - spec.hampers
    return ctrl[end - spec.toggles : end]
