"""A trust region whose bound is measured: epochs go on while the update's KL divergence stays within it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Carry = tuple[Any, Any]  # parameters, the optimiser's state
Info = dict[str, jax.Array]
_HALVINGS = 10


class _Line(NamedTuple):
    step: jax.Array
    kl: jax.Array


def backtracked(old: Any, new: Any, measure: Callable[[Any], jax.Array], bound: float) -> tuple[Any, jax.Array, jax.Array]:
    """The first of old + (new − old) / 2ᵏ, k = 0, 1, ..., whose `measure` is within the bound, else `old`; TRPO's line search
    (Schulman et al. 2015, appendix C).

    Returns:
        The parameters, their measure [], and whether any step back was needed [] bool.
    """

    def at(step: jax.Array) -> Any:
        return jax.tree.map(lambda a, b: a + step * (b - a), old, new)

    whole = measure(new)
    first = _Line(jnp.ones(()), whole)

    def halve(line: _Line) -> _Line:
        step = jnp.where(line.step > 0.5**_HALVINGS, 0.5 * line.step, 0.0)
        return _Line(step, measure(at(step)))

    found = jax.lax.while_loop(lambda line: ~(line.kl <= bound) & (line.step > 0), halve, first)
    back = found.step < 1.0
    params = jax.tree.map(lambda far, near: jnp.where(back, near, far), new, at(found.step))
    return params, found.kl, back


def bounded(
    epoch: Callable[[Carry, jax.Array], tuple[Carry, Info]],
    measure: Callable[[Any], jax.Array],
    bound: float,
    start: Carry,
    keys: jax.Array,
) -> tuple[Carry, Info]:
    """Epochs by keys [E] until one would leave the bound: that one is shortened to stay inside, and the others do not happen.

    `measure`: parameters -> the mean KL divergence [] of the policy that collected the data from theirs, on all of the data.

    Returns:
        Parameters and optimiser, and the mean figures of the epochs that were made, with `epochs` and `kl_update`, as measured.
    """
    shape = jax.eval_shape(epoch, start, keys[0])[1]
    nothing = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shape)

    def one(carry: tuple[Carry, jax.Array, jax.Array], key: jax.Array) -> tuple[tuple[Carry, jax.Array, jax.Array], tuple[Info, jax.Array]]:
        now, going, kl = carry

        def go() -> tuple[Carry, jax.Array, jax.Array, Info]:
            (params, opt), info = epoch(now, key)
            params, kl, back = backtracked(now[0], params, measure, bound)
            return (params, opt), ~back, kl, info

        after, still, kl, info = jax.lax.cond(going, go, lambda: (now, going, kl, nothing))
        return (after, still, kl), (info, going)

    (end, _, kl), (info, made) = jax.lax.scan(one, (start, jnp.asarray(True), jnp.zeros(())), keys)
    epochs = made.sum()
    figures = jax.tree.map(lambda x: x.sum(0).mean() / epochs, info)
    return end, figures | {"epochs": epochs.astype(jnp.float32), "kl_update": kl}
