"""Gymnasium's Ant-v5 as an environment of ours: any MuJoCo model, a pure `begin` and `step`, and the rest comes with it.

The model is Gymnasium's own ant.xml, and so are observation, reward, termination and the noise at the start. Run it:

    python examples/ant.py
"""

import time
from importlib.resources import files

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from flax import struct

from palaestra.envs.autoreset import AutoReset, BatchState
from palaestra.envs.types import TimeStep, restart, select, termination, transition, truncation
from palaestra.policies.ppo import PPO, Learner
from palaestra.sim.engine import PhysicsState
from palaestra.sim.native import NativeEngine
from palaestra.sim.world import ModelWorld

HEALTHY_Z = (0.2, 1.0)  # m, heights of the torso outside of which an episode ends
NOISE = 0.1  # of the positions (uniform) and velocities (normal) at the start
CONTROL_COST, CONTACT_COST = 0.5, 5e-4
# PGS is faster where constraints are fewer than degrees of freedom; one substep differs from Newton's by 5e-6 m/s (rad/s) at most.
SOLVERS = {"newton": mujoco.mjtSolver.mjSOL_NEWTON, "pgs": mujoco.mjtSolver.mjSOL_PGS}


def ant_model(solver: str = "newton", tuned: bool = True) -> mujoco.MjModel:
    """Gymnasium's ant, with a sensor that makes MuJoCo compute contact forces; `tuned` is faster, to the same bits."""
    spec = mujoco.MjSpec.from_file(str(files("gymnasium") / "envs" / "mujoco" / "assets" / "ant.xml"))
    spec.body("torso").add_site(name="torso")
    spec.add_sensor(name="acceleration", type=mujoco.mjtSensor.mjSENS_ACCELEROMETER, objtype=mujoco.mjtObj.mjOBJ_SITE, objname="torso")
    spec.option.solver = SOLVERS[solver]
    if not tuned:
        return spec.compile()
    # ant.xml lets geoms collide with the floor only. Naming these pairs, with the parameters that MuJoCo would give them, spares
    # the search for others; one tree of bodies has no islands to be found, either.
    floor, *parts = spec.geoms
    for part in parts:
        friction = np.maximum(floor.friction, part.friction)[[0, 0, 1, 2, 2]]  # sliding twice, spinning, rolling twice
        spec.add_pair(geomname1=floor.name, geomname2=part.name, condim=part.condim, friction=friction, margin=floor.margin + part.margin)
    for geom in spec.geoms:
        geom.contype = geom.conaffinity = 0
    model = spec.compile()
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_ISLAND
    return model


class State(struct.PyTreeNode, kw_only=True):
    """What the next step needs."""

    physics: PhysicsState
    x: jax.Array  # [] m, where the torso was last seen
    step: jax.Array  # [] int32, control steps since the start


class Ant:
    """Run forward. Observation: qpos without x and y [13], qvel [14], contact forces of the 13 bodies, clipped to [-1, 1] [78].

    Action: the torques of hips and ankles, clipped to [-1, 1]. Reward: speed along x, 1 for being healthy, less the costs of
    control and contact. Metrics carry Gymnasium's names for these terms.
    """

    name = "ant"
    observation_size = 105
    action_size = 8
    horizon = 1000

    def __init__(self, solver: str = "newton", tuned: bool = True, threads: int = 0):
        # An output is as the last substep left it. RK4 leaves body positions of its fourth stage, from which Gymnasium takes the
        # speed, too; sensors see its first, so that contact forces are 0.01 s older than Gymnasium's, which computes them anew.
        world = ModelWorld(ant_model(solver, tuned), substeps=5, outputs=("cfrc_ext", "xpos"))
        self.engine, self.model = NativeEngine(world, threads), world.model
        self.dt = float(self.model.opt.timestep) * world.substeps  # s a control step

    def begin(self, key: jax.Array) -> tuple[State, TimeStep]:
        """An ant near its pose at rest; key is consumed."""
        k_qpos, k_qvel = jax.random.split(key)
        qpos = jnp.asarray(self.model.qpos0, jnp.float32) + jax.random.uniform(k_qpos, (self.model.nq,), minval=-NOISE, maxval=NOISE)
        return self.at(qpos, NOISE * jax.random.normal(k_qvel, (self.model.nv,)))

    def at(self, qpos: jax.Array, qvel: jax.Array) -> tuple[State, TimeStep]:
        """An episode from these positions [15] and velocities [14]. Contact forces are zero before the first step."""
        physics = self.engine.at(qpos, qvel)
        state = State(physics=physics, x=qpos[0], step=jnp.zeros((), jnp.int32))
        return state, restart(self._observe(physics), self._metrics(physics, jnp.zeros(()), jnp.zeros(self.action_size)))

    def step(self, state: State, action: jax.Array) -> tuple[State, TimeStep]:
        action = jnp.clip(action, -1.0, 1.0)
        physics = self.engine.step(state.physics, action)
        x = physics.outputs["xpos"][1, 0]  # body 0 is the floor's
        metrics = self._metrics(physics, (x - state.x) / self.dt, action)
        reward = metrics["reward_forward"] + metrics["reward_survive"] + metrics["reward_ctrl"] + metrics["reward_contact"]
        state = State(physics=physics, x=x, step=state.step + 1)
        fallen, wrong = metrics["reward_survive"] == 0, physics.diverged | physics.overflow
        ends = [end(self._observe(physics), reward, metrics) for end in (termination, truncation, transition)]
        return state, select(fallen & ~wrong, (state.step >= self.horizon) | wrong, *ends)

    def _observe(self, physics: PhysicsState) -> jax.Array:
        return jnp.concatenate([physics.qpos[2:], physics.qvel, self._contact_forces(physics)[1:].ravel()])

    def _contact_forces(self, physics: PhysicsState) -> jax.Array:
        """Torques and forces on each body [14, 6], clipped."""
        return jnp.clip(physics.outputs["cfrc_ext"], -1.0, 1.0)

    def _metrics(self, physics: PhysicsState, speed: jax.Array, action: jax.Array) -> dict[str, jax.Array]:
        healthy = (physics.qpos[2] >= HEALTHY_Z[0]) & (physics.qpos[2] <= HEALTHY_Z[1])
        return {
            "reward_forward": speed,
            "reward_survive": healthy.astype(jnp.float32),
            "reward_ctrl": -CONTROL_COST * jnp.square(action).sum(),
            "reward_contact": -CONTACT_COST * jnp.square(self._contact_forces(physics)).sum(),
            "diverged": physics.diverged,
            "overflow": physics.overflow,
        }


def random_rollout(envs: AutoReset, state: BatchState, key: jax.Array, steps: int) -> BatchState:
    """Steps of all environments under uniform actions, resets included; the state after them. Jit it."""

    def one(state: BatchState, key: jax.Array) -> tuple[BatchState, None]:
        action = jax.random.uniform(key, (envs.num_envs, envs.env.action_size), minval=-1.0, maxval=1.0)
        return envs.step(state, action)[0], None

    return jax.lax.scan(one, state, jax.random.split(key, steps))[0]


def main(num_envs: int = 256, updates: int = 10) -> None:
    """Print the speed of a random rollout, then train for a few updates."""
    ant = Ant()
    envs = AutoReset(ant, num_envs)
    state, _ = jax.jit(envs.reset)(jax.random.split(jax.random.key(0), num_envs))
    roll = jax.jit(random_rollout, static_argnums=(0, 3))
    for key in jax.random.split(jax.random.key(1), 2):  # the first compiles
        clock = time.perf_counter()
        state = jax.block_until_ready(roll(envs, state, key, 50))
    print(f"{50 * num_envs / (time.perf_counter() - clock):,.0f} control steps/s under random actions")
    learner = Learner(ant, PPO(num_envs=num_envs), updates)
    run = learner.init(jax.random.key(2))
    for update in range(1, updates + 1):
        run, metrics = learner.train_step(run)
        print(f"update {update}: mean return {float(metrics['return'] / jnp.maximum(metrics['episodes'], 1)):.1f}")


if __name__ == "__main__":
    main()
