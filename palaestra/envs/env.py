"""The functional environment: `reset(key, task)` and `step(state, action)`, pure, for one environment, without auto-reset.

`Rearrange` is the whole task; `palaestra.skills.training.SkillEnv` is the same world seen by one skill. Both are an `Env`,
and whatever takes an `Env` (auto-reset, Gymnasium, PPO, evaluation) takes both.
"""

from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp

from palaestra.envs import context, drawers, goals, observation, predicates, rules
from palaestra.envs.generation import edits, generator
from palaestra.envs.types import (
    ALWAYS,
    COLOURS,
    KINDS,
    MAX_DELAY,
    MAX_GOALS,
    MAX_TERMS,
    OPEN,
    PREDICATES,
    PRESSED,
    Goal,
    Scene,
    State,
    Task,
    TimeStep,
    entity_kinds,
    entity_used,
    kind_columns,
    num_entities,
    opening_entity,
    restart,
    select,
    termination,
    transition,
    truncation,
)
from palaestra.envs.words import language
from palaestra.sim.engine import Engine
from palaestra.sim.errors import PalaestraError
from palaestra.sim.native import NativeEngine
from palaestra.sim.world import World, WorldSpec, world

S = TypeVar("S")
_CLUTTER = 2  # folded into an attempt's key, beside the two that it is split into


class Env(Protocol, Generic[S]):
    """What every environment offers. Pure functions of one environment: vmap outside."""

    name: str
    observation_size: int
    action_size: int
    horizon: int  # control steps before truncation

    def begin(self, key: jax.Array) -> tuple[S, TimeStep]:
        """A fresh episode: a task from the environment's own distribution, and a start in it; key is consumed."""
        ...

    def step(self, state: S, action: jax.Array) -> tuple[S, TimeStep]:
        """One control step (1/20 s); actions [action_size] are clipped to [-1, 1]."""
        ...


@runtime_checkable
class Levelled(Env[S], Protocol[S]):
    """An environment whose episodes begin from levels, which are data: a task, or a skill's start. Curricula choose among them."""

    def level(self, key: jax.Array) -> Any:
        """What `begin(key)` begins from; key is consumed."""
        ...

    def reset(self, key: jax.Array, level: Any) -> tuple[S, TimeStep]:
        """The start of an episode from this level; key is consumed."""
        ...


@runtime_checkable
class Editable(Levelled[S], Protocol[S]):
    """An environment whose levels can be changed a little."""

    def edit(self, key: jax.Array, level: Any) -> Any:
        """A level much like this one, and as good; key is consumed."""
        ...


def advance(engine: Engine, state: Any, action: jax.Array) -> tuple[Any, jax.Array]:
    """Physics of one control step: the state with new set points and physics, and whether it went wrong.

    Wrong is a state that is not finite, a contact that an engine's buffers had no room for (`physics.overflow`: what follows
    would be another physics), and an action that is not finite; it ends this environment alone.
    """
    finite = jnp.isfinite(action).all()
    action = jnp.where(finite, jnp.clip(action, -1.0, 1.0), 0.0)
    ctrl = engine.world.control(state.physics.qpos, state.ctrl, action)
    physics = engine.step(state.physics, ctrl)
    return state.replace(physics=physics, ctrl=ctrl), physics.diverged | physics.overflow | ~finite


class Rearrange:
    """Bring a generated house into a goal state.

    Observation, float32, each number clipped to [-10, 10], in the base frame: proprioception [9], rays [36], then an entity
    after the other (used, kind one-hot [7], open or pressed, colour one-hot [6], offset [3] m, half sizes [2] m), then the ways out of
    drawers [W, 2] (a kind after the first seven has a column only in worlds that have slots for it), then the goal's terms
    (used, holds, must always hold, belongs to the present stage, at least, at most, option one-hot [8], predicate one-hot [7] (zeros for
    one of one's own), subjects [E], targets [E]), then the rules, where they are shown (used, lasting, of each of two facts needed,
    predicate one-hot [7], subject [E], target [E] and what vanishes [E], then what appears or opens [E]); last, where the context is
    visible, friction, mass, strength, delay and noise (`Context`). Its noise is on proprioception, rays and offsets.
    Action: the body's (see `MobileManipulator`). Reward: the gain in `Progress.share`, so an episode sums to at most 1.
    Terminated when the goal is done, or can no longer be because something that must always hold did not; truncated after
    `horizon` steps, or when the physics diverged.
    """

    name = "rearrange"
    held_out_words = False  # whether instructions take the wordings that are kept for tests

    def __init__(
        self,
        spec: WorldSpec | None = None,
        *,
        ranges: generator.SceneRange | None = None,
        min_goals: int = 1,
        max_goals: int = 3,
        horizon: int = 1200,
        show_rules: bool = True,
        context_visible: bool = False,
        engine: Engine | None = None,
    ):
        if not 1 <= min_goals <= max_goals <= MAX_GOALS:
            raise ValueError(f"goals: got {min_goals} to {max_goals}, expected 1 <= min_goals <= max_goals <= {MAX_GOALS}")
        self.engine = engine or NativeEngine(world(spec or WorldSpec()))
        self.world: World = self.engine.world
        self.ranges = ranges or generator.SceneRange.make(self.world.spec)
        clutter, objects = self.ranges.clutter, self.world.spec.objects
        if clutter is not None and (most := max_goals + int(jnp.flatnonzero(clutter).max())) > objects:
            fix = "a world with more objects, less clutter, or fewer goals"
            raise PalaestraError(f"objects: got {objects}, expected {most} or more, for goals and clutter. Fix: {fix}")
        self.min_goals: int | jax.Array = min_goals
        self.max_goals: int | jax.Array = max_goals
        self.horizon, self.context_visible = horizon, context_visible
        e = num_entities(self.world.spec)
        self.show_rules = show_rules
        entity_size = 1 + len(kind_columns(self.world.spec)) + 1 + len(COLOURS) + 3 + 2
        self.observation_size = (
            observation.PROPRIOCEPTION
            + observation.SURROUNDINGS
            + (e - 1) * entity_size
            + 2 * self.world.spec.drawers
            + MAX_TERMS * (6 + MAX_TERMS + len(PREDICATES) + 2 * e)
            + (self.world.spec.rules * (2 + 2 * (1 + len(PREDICATES) + 3 * e) + e) if show_rules else 0)
            + (context.SIZE if context_visible else 0)
        )
        self.action_size = len(self.world.body.action_names)

    def attempt_task(self, key: jax.Array) -> tuple[Task, jax.Array]:
        """A task drawn from the environment's distribution, and whether it is one that may be used; key is consumed."""
        k_scene, k_goal = jax.random.split(key)
        scene, fits = self.attempt_scene(k_scene)
        goal, good = self.attempt_goal(k_goal, scene)
        task, enough = Task(scene=scene, goal=goal), jnp.asarray(True)
        if self.ranges.clutter is not None:
            task, enough = generator.cluttered(jax.random.fold_in(key, _CLUTTER), self.world.spec, task, self.ranges.clutter)
        return task, fits & good & enough

    def attempt_scene(self, key: jax.Array) -> tuple[Scene, jax.Array]:
        """A house from the environment's distribution, and whether it may be used; key is consumed."""
        return generator.attempt_scene(key, self.world, self.ranges)

    def attempt_goal(self, key: jax.Array, scene: Scene) -> tuple[Goal, jax.Array]:
        """A goal in this scene from the environment's distribution, and whether it may be used; key is consumed."""
        return generator.attempt_goal(key, self.world, scene, jnp.asarray(self.min_goals), jnp.asarray(self.max_goals))

    def admits(self, task: Task) -> jax.Array:
        """Whether a task in a house that was changed is still one of the environment's kind [] bool."""
        return edits.may_begin(self.world, task)

    def sample_task(self, key: jax.Array) -> Task:
        """A task; key is consumed."""
        return generator.draw_until(key, self.attempt_task)

    def sample_tasks(self, keys: jax.Array) -> Task:
        """Tasks [B], the same as `sample_task` makes of each key [B], several times as fast as under vmap."""
        return generator.draw_batch(keys, self.attempt_task)

    def instruction(self, task: Task, seed: int = 0) -> str:
        """The task in English; `seed` chooses among the many wordings. On the host, for one task."""
        return language.render(self.world.spec, task, seed, self.held_out_words)

    def begin(self, key: jax.Array) -> tuple[State, TimeStep]:
        _, k_reset = jax.random.split(key)
        return self.reset(k_reset, self.level(key))

    def level(self, key: jax.Array) -> Task:
        """The task with which `begin(key)` begins; key is consumed."""
        k_task, _ = jax.random.split(key)
        return self.sample_task(k_task)

    def edit(self, key: jax.Array, task: Task) -> Task:
        """The task with a small change, or itself where the change was none that it may have; key is consumed."""
        return edits.edit(key, self.world, task, self.attempt_goal, self.admits)

    def reset(self, key: jax.Array, task: Task) -> tuple[State, TimeStep]:
        """The start of `task`, given from outside. Everything random is in the task but the noise of the sensors, which key is for."""
        state = State(
            physics=context.physics_at_start(self.engine, task),
            ctrl=predicates.set_points_at_start(self.world.spec, task.scene),
            task=task,
            step=jnp.zeros((), jnp.int32),
            progress=goals.start(),
            recent=jnp.zeros((MAX_DELAY, self.action_size)),
            key=key,
        )
        state, geo, table, holds = self._judge(state)
        return state, restart(self._observe(state, geo, table, holds), self._metrics(state, jnp.asarray(False)))

    def step(self, state: State, action: jax.Array) -> tuple[State, TimeStep]:
        before = state.progress.share
        state, diverged = advance(self.engine, *context.actuate(state, action))
        state, geo, table, holds = self._judge(state.replace(step=state.step + 1))
        reward = state.progress.share - before
        obs, metrics = self._observe(state, geo, table, holds), self._metrics(state, diverged)
        over = (state.progress.done | state.progress.broken) & ~diverged
        cut = (state.step >= self.horizon) | diverged
        return state, select(
            over, cut, termination(obs, reward, metrics), truncation(obs, reward, metrics), transition(obs, reward, metrics)
        )

    def _judge(self, state: State) -> tuple[State, predicates.Geometry, jax.Array, jax.Array]:
        """The state after its rules and with its progress brought up to date, its geometry, its truth table, and which terms of
        the goal hold [G]."""
        geo, table = self.perceive(state)
        if self.world.spec.changes:
            state = rules.apply(self.engine, state, table)
            geo, table = self.perceive(state)
        holds = goals.terms(table, state.task.goal)
        return state.replace(progress=goals.advance(state.task.goal, holds, state.progress)), geo, table, holds

    def perceive(self, state: State) -> tuple[predicates.Geometry, jax.Array]:
        """Geometry and the truth table [predicates, E, E] of a state."""
        scene = state.task.scene
        geo = predicates.geometry(self.world, scene, state.physics, state.ctrl)
        return geo, predicates.truths(self.world, scene, state.physics, geo)

    def terms(self, state: State) -> jax.Array:
        """Which of the goal's terms hold [G] bool; unused ones do."""
        return goals.terms(self.perceive(state)[1], state.task.goal)

    @staticmethod
    def _metrics(state: State, diverged: jax.Array) -> dict[str, jax.Array]:
        return {
            "success": state.progress.done,
            "progress": state.progress.share,
            "broken": state.progress.broken,
            "diverged": diverged,
            "overflow": state.physics.overflow,
        }

    def _observe(self, state: State, geo: predicates.Geometry, table: jax.Array, holds: jax.Array) -> jax.Array:
        spec, scene, goal = self.world.spec, state.task.scene, state.task.goal
        e = num_entities(spec)
        colour = jnp.concatenate(
            [scene.object_colour, scene.receptacle_colour, scene.leaf_colour, scene.button_colour, jnp.full(spec.rooms, -1)]
        )
        used = entity_used(spec, scene)[1:, None]
        offset = observation.to_base(geo.yaw, geo.position[1:] - jnp.append(geo.robot, 0.0))
        robot = observation.proprioception(self.world, state.physics, state.ctrl)
        sensed = jnp.concatenate([robot, observation.surroundings(self.world, scene, geo), offset.ravel()])
        near, offset = jnp.split(context.sense(state, sensed), [len(sensed) - offset.size])
        offset = offset.reshape(-1, 3)
        active = (jnp.diagonal(table[OPEN]) | jnp.diagonal(table[PRESSED]))[1:, None].astype(jnp.float32)
        kinds = jnp.eye(len(KINDS))[entity_kinds(spec)][:, jnp.asarray(kind_columns(spec))]
        looks = [kinds, active, jax.nn.one_hot(colour, len(COLOURS))]
        entities = jnp.concatenate([*looks, offset, geo.half[1:]], -1)
        entities = jnp.concatenate([used.astype(jnp.float32), jnp.where(used, entities, 0.0)], -1)
        flags = jnp.stack([goal.used, holds, goal.stage == ALWAYS, goal.stage == state.progress.stage], -1)
        most = jnp.minimum(goal.at_most, e)  # a count that no goal forbids is as good as "any"
        terms = jnp.concatenate(
            [
                flags.astype(jnp.float32),
                jnp.stack([goal.at_least, most], -1).astype(jnp.float32),
                jax.nn.one_hot(goal.option, MAX_TERMS),
                jax.nn.one_hot(goal.predicate, len(PREDICATES)),
                goal.subjects.astype(jnp.float32),
                goal.targets.astype(jnp.float32),
            ],
            -1,
        )
        terms = jnp.where(goal.used[:, None], terms, 0.0)
        parts = [
            near,
            entities.ravel(),
            observation.to_base(geo.yaw, drawers.fronts(scene.layout)).ravel(),
            terms.ravel(),
            *([self._observed_rules(scene).ravel()] if self.show_rules else []),
            context.features(state.task.context) if self.context_visible else jnp.zeros(0),
        ]
        return jnp.clip(jnp.concatenate(parts), -10.0, 10.0).astype(jnp.float32)

    def _observed_rules(self, scene: Scene) -> jax.Array:
        """A row a rule [K, ..], zeros where it is not in use."""
        spec, rules = self.world.spec, scene.rules
        e = num_entities(spec)

        def thing(index: jax.Array, first: int = 0) -> jax.Array:
            return jax.nn.one_hot(jnp.where(index >= 0, first + index, -1), e)

        facts = jnp.concatenate(
            [
                rules.needed[..., None].astype(jnp.float32),
                jax.nn.one_hot(rules.predicate, len(PREDICATES)),
                thing(rules.subject),
                thing(rules.target),
                thing(rules.consumes, 1),
            ],
            -1,
        )
        facts = jnp.where((rules.needed | (rules.consumes >= 0))[..., None], facts, 0.0)
        flags = jnp.stack([rules.used, rules.lasting], -1).astype(jnp.float32)
        effect = thing(rules.product, 1) + thing(jnp.where(rules.opens >= 0, opening_entity(spec, rules.opens), -1))
        rows = jnp.concatenate([flags, facts.reshape(spec.rules, facts.shape[1] * facts.shape[2]), effect], -1)
        return jnp.where(rules.used[:, None], rows, 0.0)
