"""The training environment that a skill's record defines: start where the precondition holds, succeed where the effect holds."""

import jax
import jax.numpy as jnp
from flax import struct

from palaestra.envs import toggles
from palaestra.envs.env import advance
from palaestra.envs.generation.generator import draw_until
from palaestra.envs.types import Scene, TimeStep, restart, select, termination, transition, truncation
from palaestra.sim.engine import Engine, PhysicsState
from palaestra.sim.native import NativeEngine
from palaestra.sim.world import world
from palaestra.skills.record import Skill, Start, View, view

HELD_FOR = 4  # control steps that success has to last
LOST_FOR = 6  # control steps after which a failure is one
ABSORBING = 50.0  # steps' worth of full reward that success pays at once: as if it lasted, at a discount of 0.98


class SkillState(struct.PyTreeNode, kw_only=True):
    """One environment of one skill."""

    physics: PhysicsState
    ctrl: jax.Array  # [nu]
    scene: Scene
    args: jax.Array  # [2] int32
    monitor: "Monitor"


class Monitor(struct.PyTreeNode, kw_only=True):
    """How long a skill has run, and for how long it has looked finished or failed. Training and execution share it."""

    step: jax.Array  # [] int32
    done_for: jax.Array  # [] int32
    failed_for: jax.Array  # [] int32

    @staticmethod
    def new() -> "Monitor":
        zero = jnp.zeros((), jnp.int32)
        return Monitor(step=zero, done_for=zero, failed_for=zero)

    def update(self, done: jax.Array, failed: jax.Array) -> "Monitor":
        return Monitor(
            step=self.step + 1,
            done_for=jnp.where(done, self.done_for + 1, 0),
            failed_for=jnp.where(failed, self.failed_for + 1, 0),
        )

    @property
    def succeeded(self) -> jax.Array:
        return self.done_for >= HELD_FOR

    @property
    def lost(self) -> jax.Array:
        return self.failed_for >= LOST_FOR


class SkillEnv:
    """One skill, its own action and observation, in the worlds that its record names. An `Env`.

    Reward: the record's, in [0, 1] a step; success ends the episode and pays ABSORBING at once, so that finishing is worth more
    than hovering. Failure ends it with nothing. `easy`: the share of easy starts (0 for measuring).
    """

    def __init__(self, skill: Skill, *, easy: float = 0.0, engine: Engine | None = None):
        self.skill, self.easy = skill, easy
        self.name = f"skill/{skill.name}"
        self.engine = engine or NativeEngine(world(skill.train_spec))
        self.world = self.engine.world
        self.horizon = skill.horizon
        self.observation_size = skill.observation_size
        self.action_size = skill.action_size

    def begin(self, key: jax.Array) -> tuple[SkillState, TimeStep]:
        return self._begun(draw_until(key, self._attempt))

    def level(self, key: jax.Array) -> Start:
        """The start from which `begin(key)` begins; key is consumed."""
        state = draw_until(key, self._attempt)
        return Start(scene=state.scene, ctrl=state.ctrl, args=state.args, valid=jnp.asarray(True))

    def reset(self, key: jax.Array, level: Start) -> tuple[SkillState, TimeStep]:
        """The beginning of an episode from a start that was drawn before."""
        del key
        return self._begun(self._at(level))

    def _at(self, start: Start) -> SkillState:
        physics = self.engine.init(start.scene.layout)
        return SkillState(physics=physics, ctrl=start.ctrl, scene=start.scene, args=start.args, monitor=Monitor.new())

    def _attempt(self, key: jax.Array) -> tuple[SkillState, jax.Array]:
        start = self.skill.start(key, self.world, jnp.asarray(self.easy))
        state = self._at(start)
        return state, start.valid & self._may_start(self.view(state))

    def _begun(self, state: SkillState) -> tuple[SkillState, TimeStep]:
        return state, restart(self._observe(self.view(state)), self._metrics(state, jnp.asarray(False)))

    def _may_start(self, seen: View) -> jax.Array:
        """The precondition holds, the effect does not yet, and the skill has not failed before it began."""
        skill = self.skill
        done = skill.holds(skill.effect, seen) & skill.finished(self.world, seen)
        return skill.holds(skill.precondition, seen) & ~done & ~skill.failed(self.world, seen)

    def step(self, state: SkillState, action: jax.Array) -> tuple[SkillState, TimeStep]:
        state, diverged = advance(self.engine, state, self.skill.full_action(self.world, action))
        _, up = self.world.mechanism_q(state.physics.qpos)
        state = state.replace(ctrl=toggles.toggled(self.world.spec, state.ctrl, up))  # all that happens by itself here
        seen = self.view(state)
        skill = self.skill
        done = skill.holds(skill.effect, seen) & skill.finished(self.world, seen)
        state = state.replace(monitor=state.monitor.update(done, skill.failed(self.world, seen)))
        monitor = state.monitor
        reward = skill.reward(self.world, seen) + jnp.where(monitor.succeeded, ABSORBING, 0.0)
        obs, metrics = self._observe(seen), self._metrics(state, diverged)
        ended = (monitor.succeeded | monitor.lost) & ~diverged
        cut = (monitor.step >= self.horizon) | diverged
        return state, select(
            ended, cut, termination(obs, reward, metrics), truncation(obs, reward, metrics), transition(obs, reward, metrics)
        )

    def view(self, state: SkillState) -> View:
        return view(self.world, state.scene, state.physics, state.ctrl, state.args)

    def _observe(self, seen: View) -> jax.Array:
        return jnp.clip(self.skill.observe(self.world, seen), -10.0, 10.0).astype(jnp.float32)

    @staticmethod
    def _metrics(state: SkillState, diverged: jax.Array) -> dict[str, jax.Array]:
        return {
            "success": state.monitor.succeeded & ~diverged,
            "lost": state.monitor.lost & ~diverged,
            "diverged": diverged,
            "overflow": state.physics.overflow,
        }
