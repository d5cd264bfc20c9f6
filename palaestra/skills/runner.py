"""Skills in motion, many environments at once: each runs its own skill, and all share one physics step."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from palaestra.envs import context, goals, rules
from palaestra.envs.env import Rearrange, advance
from palaestra.envs.types import Progress, State, entity_used
from palaestra.skills.record import View, view
from palaestra.skills.shipped import LearnedSkill
from palaestra.skills.training import Monitor

_SENSORS = 1  # folded into an episode's key: the stream of its sensors' noise


class Outcome(IntEnum):
    """How a skill stands."""

    IDLE = 0  # none is running; the robot stands still
    RUNNING = 1
    SUCCEEDED = 2  # the effect holds, for some steps now
    LOST = 3  # the skill itself saw that it cannot succeed any more
    TIMEOUT = 4
    DIVERGED = 5  # the physics of this environment went wrong
    CONSUMED = 6  # the effect held, and at once a rule consumed what it was about


class Motion(struct.PyTreeNode, kw_only=True):
    """B environments and what each one is doing."""

    state: State
    skill: jax.Array  # [B] int32, into the runner's skills
    args: jax.Array  # [B, 2] int32, entities
    monitor: Monitor
    outcome: jax.Array  # [B] int32, an Outcome
    key: jax.Array  # [B] random streams
    noisy: jax.Array  # [B] bool: act with the policy's own noise, to get out of where its mean is stuck


class Sight(struct.PyTreeNode, kw_only=True):
    """What the host decides on."""

    table: jax.Array  # [B, predicates, E, E] bool
    holds: jax.Array  # [B, G] bool, the goal's terms; true where unused
    progress: Progress  # [B]


class Runner:
    """Steps those of the learned skills that can be called in the worlds of `env`."""

    def __init__(self, env: Rearrange, skills: Mapping[str, LearnedSkill]):
        self.env, self.skills = env, {name: s for name, s in skills.items() if s.skill.fits(env.world.spec)}
        self.names = tuple(self.skills)
        self.run = jax.jit(self._run, static_argnums=1)
        self.begin = jax.jit(jax.vmap(self._begin))
        self.look = jax.jit(jax.vmap(self._look))
        self.see = jax.jit(jax.vmap(self._see))
        self.put = jax.jit(jax.vmap(lambda which, new, old: jax.tree.map(lambda n, o: jnp.where(which, n, o), new, old)))

    def _begin(self, task: Any, key: jax.Array) -> Motion:
        """Environments at the start of their tasks, idle; leading axis B. `key`: the episode's random stream."""
        state, _ = self.env.reset(jax.random.fold_in(key, _SENSORS), task)
        zero = jnp.zeros((), jnp.int32)
        return Motion(
            state=state,
            skill=zero,
            args=jnp.zeros(2, jnp.int32),
            monitor=Monitor.new(),
            outcome=zero,
            key=key,
            noisy=jnp.asarray(False),
        )

    def _look(self, motion: Motion) -> Sight:
        _, table = self.env.perceive(motion.state)
        return Sight(table=table, holds=goals.terms(table, motion.state.task.goal), progress=motion.state.progress)

    def _see(self, motion: Motion) -> View:
        """What the skills' functions see of an environment."""
        state = motion.state
        return view(self.env.world, state.task.scene, state.physics, state.ctrl, motion.args)

    def start(self, motion: Motion, which: jax.Array, skill: jax.Array, args: jax.Array, noisy: jax.Array) -> Motion:
        """Begin skills where `which` [B] holds; elsewhere nothing changes."""
        fresh = jax.tree.map(lambda x: jnp.zeros_like(x), motion.monitor)
        monitor = jax.tree.map(lambda new, old: jnp.where(which, new, old), fresh, motion.monitor)
        return motion.replace(
            skill=jnp.where(which, skill, motion.skill),
            args=jnp.where(which[:, None], args, motion.args),
            monitor=monitor,
            outcome=jnp.where(which, Outcome.RUNNING, motion.outcome),
            noisy=jnp.where(which, noisy, motion.noisy),
        )

    def _run(self, motion: Motion, steps: int) -> tuple[Motion, State]:
        """Up to `steps` control steps; what ends stands still until the rest has had its steps. Also all states [steps, B]."""

        def one(motion: Motion, _: None) -> tuple[Motion, State]:
            motion = jax.vmap(self._step)(motion)
            return motion, motion.state

        return jax.lax.scan(one, motion, length=steps)

    def _step(self, motion: Motion) -> Motion:
        world, state = self.env.world, motion.state
        seen = view(world, state.task.scene, state.physics, state.ctrl, motion.args)
        # Every skill's policy is small against a physics step: compute all, choose one.
        key, k_noise = jax.random.split(motion.key)
        actions = []
        for s in self.skills.values():
            sensed = context.sense(state, s.skill.observe(world, seen), s.skill.flags)
            action, deviation = s.explore(jnp.clip(sensed, -10.0, 10.0))
            noise = deviation * jax.random.normal(k_noise, action.shape)
            actions.append(s.skill.full_action(world, action + jnp.where(motion.noisy, noise, 0.0)))
        running = motion.outcome == Outcome.RUNNING
        action = jnp.where(running, jnp.stack(actions)[motion.skill], 0.0)
        state, diverged = advance(self.env.engine, *context.actuate(state, action))
        seen = view(world, state.task.scene, state.physics, state.ctrl, motion.args)
        done = jnp.stack([s.skill.holds(s.skill.effect, seen) & s.skill.finished(world, seen) for s in self.skills.values()])
        failed = jnp.stack([s.skill.failed(world, seen) for s in self.skills.values()])
        gone = jnp.asarray(False)
        if world.spec.changes:
            there = entity_used(world.spec, state.task.scene)[motion.args]
            state = rules.apply(self.env.engine, state, seen.table)
            gone = (there & ~entity_used(world.spec, state.task.scene)[motion.args]).any()
            seen = view(world, state.task.scene, state.physics, state.ctrl, motion.args)
        progress = goals.advance(state.task.goal, goals.terms(seen.table, state.task.goal), state.progress)
        state = state.replace(step=state.step + 1, progress=progress)
        horizon = jnp.asarray([s.skill.horizon for s in self.skills.values()])
        monitor = motion.monitor.update(done[motion.skill], failed[motion.skill])
        late = monitor.step >= horizon[motion.skill]
        outcome = jnp.where(late, Outcome.TIMEOUT, Outcome.RUNNING)
        outcome = jnp.where(monitor.lost, Outcome.LOST, outcome)
        outcome = jnp.where(monitor.succeeded, Outcome.SUCCEEDED, outcome)
        # Nothing of what it sees would be true: it ends here, before it moves what came about in the hand.
        outcome = jnp.where(gone, jnp.where(done[motion.skill], Outcome.CONSUMED, Outcome.LOST), outcome)
        outcome = jnp.where(diverged, Outcome.DIVERGED, outcome).astype(jnp.int32)
        return motion.replace(
            state=state,
            key=key,
            monitor=jax.tree.map(lambda new, old: jnp.where(running, new, old), monitor, motion.monitor),
            outcome=jnp.where(running, outcome, motion.outcome),
        )
