"""The engines of `mujoco.mjx`: `mjx` (XLA, any device) and `warp` (NVIDIA GPUs), over the same worlds as the native one.

A state is what it is on every engine: a row of numbers. A step builds mjx's own data from it, runs the substeps, and keeps
the row; so masked writes, fresh tasks at every reset and whole training loops on the device need nothing of mjx's. All
simulations of a batch are stepped in one call, whose size is known when buffers are made.

`mjx` computes in float64, whatever the rest of the program does: in float32 its solver for elliptic cones loses objects that
had come to rest and robots that lean on a wall (within a second, in five of the eight scenes of the parity tests). `warp` is
written for float32 and keeps to C with it.
"""

import contextlib
import copy
import functools
import importlib.metadata
import io
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import mujoco
import numpy as np

from palaestra.sim.engine import EngineError, PhysicsState, Simulated, dump_states, placed
from palaestra.sim.errors import MissingExtraError
from palaestra.sim.world import MAX_CONTACTS, Layout

# What was tested together, by the beginning of the version; mujoco-mjx lags behind mujoco, and brings its own mujoco_warp.
TESTED = {"mujoco": "4.0.", "mujoco-mjx": "3.17.", "warp-lang": "1.18."}
_EXTRA = {"mjx": "mjx", "warp": "warp"}
_SHAPES = {mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_BOX}
_TOO_FAR = 1e10  # beyond it C calls a state bad (mjMAXVAL)


class MjxEngine:
    """`mujoco.mjx` as an engine.

    Args:
        world: what to step.
        name: `mjx` (written in JAX) or `warp` (CUDA kernels).
        max_contacts: contact points a simulation that the buffers hold; the world's own bound when not given. A simulation that
            has more reports `overflow`: some were lost in that step.
        dump: a folder for the last states of simulations that diverge, as npz; none is written without it.
        double: whether `mjx` computes in float64. float32 is faster and loses contacts of elliptic cones; `warp` has only float32.
        on_cpu: take `warp` without a GPU. Its kernels then run one thread after the other: for tests.
    """

    def __init__(
        self,
        world: Simulated,
        name: str = "mjx",
        *,
        max_contacts: int | None = None,
        dump: Path | None = None,
        double: bool = True,
        on_cpu: bool = False,
    ):
        self.name = name
        self.world: Any = world
        self.dump = dump
        self._mjx = _import(name)
        self._double = double and name == "mjx"
        if name == "warp" and not on_cpu and not has_gpu():
            raise EngineError("engine 'warp': got no NVIDIA GPU that JAX can see, expected one. Fix: --engine native, the fastest on a CPU")
        m = world.model
        _check_collisions(name, m)
        self.max_contacts = max_contacts or world.max_contacts or _default_contacts(m)
        self._of_each_dimension = -(-self.max_contacts // 2)  # no dimension had more than that share in measurements
        self._width = 1 + m.nq + m.nv + m.na + m.nv  # time, qpos, qvel, act, warm start
        try:
            self._model = self._put_model()
        except NotImplementedError as error:
            raise EngineError(f"engine {name!r} lacks something that this model uses: {error}. Fix: --engine native") from error
        for output in world.outputs:
            if output not in {f.name for f in self._mjx.Data.fields()}:
                raise EngineError(f"engine {name!r}: got the output {output!r}, expected a public field of mjx.Data. Fix: --engine native")
        self._programs: dict[Any, Any] = {}
        self._batch = jax.custom_batching.custom_vmap(self._step_rows)
        self._batch.def_vmap(self._flatten)

    def init(self, layout: Layout) -> PhysicsState:
        return self.at(self.world.initial_qpos(layout), jnp.zeros(self.world.model.nv), layout.parameters())

    def at(self, qpos: jax.Array, qvel: jax.Array, parameters: jax.Array | None = None) -> PhysicsState:
        state = placed(self.world, qpos, qvel, parameters, self._width, double=self._double)
        if not self._double:
            return state
        # What an exported program returns is bound to its device. So is this, or the first step would be compiled twice.
        here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        return state.replace(bits=jax.lax.with_sharding_constraint(state.bits, here))

    def step(self, state: PhysicsState, ctrl: jax.Array) -> PhysicsState:
        new = self._batch(state.bits[None], state.parameters[None], ctrl[None])
        return state.replace(**jax.tree.map(lambda x: x[0], new))

    def _put_model(self) -> Any:
        """The model on the device, its contacts limited to the bound."""
        if self.name == "mjx":
            with jax.enable_x64(True) if self._double else contextlib.nullcontext():
                return self._mjx.put_model(self._limited(), impl="jax")
        model = self._mjx.put_model(self.world.model, impl="warp")
        # Lost contacts are reported in the state; the kernels' own prints would come once a step.
        return model.tree_replace({"opt._impl.warn_overflow": 0})

    def _limited(self) -> mujoco.MjModel:
        """A copy of the model that tells mjx how many points of each contact dimension to solve: the deepest."""
        model = copy.copy(self.world.model)
        if mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_NUMERIC, MAX_CONTACTS) >= 0:
            model.numeric(MAX_CONTACTS).data[:] = self._of_each_dimension
        return model

    def _flatten(self, size: int, batched: list[Any], *args: jax.Array) -> tuple[dict[str, Any], Any]:
        """vmap adds an axis in front of the batch's own: both become one batch."""
        whole = [x if b else jnp.broadcast_to(x, (size, *x.shape)) for x, b in zip(args, batched, strict=True)]
        each = whole[0].shape[1]
        flat = self._batch(*(x.reshape(size * each, *x.shape[2:]) for x in whole))
        out = jax.tree.map(lambda x: x.reshape(size, each, *x.shape[1:]), flat)
        return out, jax.tree.map(lambda _: True, out)

    def _step_rows(self, bits: jax.Array, parameters: jax.Array, ctrl: jax.Array) -> dict[str, Any]:
        """One control step of a batch: bits [B, n], parameters [B, P], ctrl [B, nu]."""
        new = self._in_double(bits, parameters, ctrl) if self._double else self._compute(jnp.float32, bits, parameters, ctrl)
        if self.dump is not None:
            keep = functools.partial(jax.debug.callback, self._keep, new["diverged"], bits, parameters, ctrl)
            jax.lax.cond(new["diverged"].any(), keep, lambda: None)
        return new

    def _in_double(self, *args: jax.Array) -> dict[str, Any]:
        """The step of this batch size as a program of its own, traced and lowered with float64 on: nothing outside is."""
        shapes = tuple(x.shape for x in args)
        if shapes not in self._programs:
            like = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in args]
            with jax.enable_x64(True):
                self._programs[shapes] = jax.export.export(jax.jit(functools.partial(self._compute, jnp.float64)))(*like)
        return self._programs[shapes].call(*args)

    def _compute(self, dtype: Any, bits: jax.Array, parameters: jax.Array, ctrl: jax.Array) -> dict[str, Any]:
        m, world = self.world.model, self.world
        size = bits.shape[0]
        blank = self._blank(size)
        rows = jax.lax.bitcast_convert_type(bits.reshape(size, self._width, -1) if self._double else bits, dtype)
        parameters, ctrl = parameters.astype(dtype), ctrl.astype(dtype)
        at = np.cumsum([1, m.nq, m.nv, m.na])

        def one(row: jax.Array, parameters: jax.Array, ctrl: jax.Array) -> tuple[jax.Array, dict[str, jax.Array], jax.Array]:
            model, mocap = self._with_fields(world.fields(parameters))
            time, qpos, qvel, act, warm = jnp.split(row, at)
            data = blank.replace(time=time[0], qpos=qpos, qvel=qvel, act=act, qacc_warmstart=warm, ctrl=ctrl, **mocap)

            def substep(carry: tuple[Any, jax.Array], _: None) -> tuple[tuple[Any, jax.Array], None]:
                data = self._mjx.step(self._saturate(model, carry[0]), carry[0])
                return (data, carry[1] | self._lost(data)), None

            (data, lost), _ = jax.lax.scan(substep, (data, jnp.asarray(False)), length=world.substeps)
            new = jnp.concatenate([data.time[None], data.qpos, data.qvel, data.act, data.qacc_warmstart])
            return new, {name: getattr(data, name) for name in world.outputs}, lost

        new, outputs, lost = jax.vmap(one)(rows, parameters, ctrl)
        bad = ~(jnp.abs(new) < _TOO_FAR).all(-1)  # not finite either
        new = jnp.where(bad[:, None], jnp.where(jnp.isfinite(rows), rows, 0.0), new)
        return {
            "bits": jax.lax.bitcast_convert_type(new, jnp.uint32).reshape(size, -1),
            "qpos": new[:, 1 : 1 + m.nq].astype(jnp.float32),
            "qvel": new[:, 1 + m.nq : 1 + m.nq + m.nv].astype(jnp.float32),
            "outputs": jax.tree.map(lambda x: jnp.where(bad.reshape(-1, *[1] * (x.ndim - 1)), 0, x).astype(jnp.float32), outputs),
            "diverged": bad,
            "overflow": lost & ~bad,
        }

    def _keep(self, bad: jax.Array, bits: jax.Array, parameters: jax.Array, ctrl: jax.Array) -> None:
        assert self.dump is not None
        rows = np.asarray(bits).view(np.float64 if self._double else np.float32)
        dump_states(self.dump, np.asarray(bad), rows, np.asarray(parameters), np.asarray(ctrl))

    def _blank(self, size: int) -> Any:
        """mjx's data for one of `size` simulations; warp's buffers are shared by all of them."""
        if self.name == "mjx":
            return self._mjx.make_data(self._model, impl="jax")
        rows = self.max_contacts * 4 + self.world.model.nv  # 3 to 6 a contact, and the joints' limits
        return self._mjx.make_data(self.world.model, impl="warp", naconmax=size * self.max_contacts, njmax=rows)

    def _with_fields(self, fields: Mapping[str, Any]) -> tuple[Any, dict[str, jax.Array]]:
        """The model of one simulation, and what belongs to its data. Fields that mjx's model lacks, or that are fixed in its
        program (which geoms may meet), stay: an unused object is far from everything."""
        public = {f.name for f in self._model.fields()}
        own = {}
        for name in public.intersection(fields):
            like = getattr(self._model, name)
            if isinstance(like, jax.Array):
                own[name] = fields[name].astype(like.dtype).reshape(like.shape)
        mocap = {"mocap_pos": fields["mocap_pos"]} if "mocap_pos" in fields else {}
        return self._model.tree_replace(own), mocap

    def _saturate(self, model: Any, data: Any) -> Any:
        """The model with actuators at the end of their force range turned into constant forces, for `mjx` alone.

        The implicit integrator of C takes no damping from an actuator that cannot give more force; mjx takes it all the same,
        and a base that accelerates at full force is 1 % off after one control step.
        """
        m = self.world.model
        ids = _joint_servos(m)
        if self.name == "warp" or not len(ids):
            return model
        joint, gear = m.actuator_trnid[ids, 0], m.actuator_gear[ids, 0]
        low, high = m.actuator_forcerange[ids].T
        ctrl = jnp.where(m.actuator_ctrllimited[ids], jnp.clip(data.ctrl[ids], *m.actuator_ctrlrange[ids].T), data.ctrl[ids])
        bias = model.actuator_biasprm[ids]
        length, speed = gear * data.qpos[m.jnt_qposadr[joint]], gear * data.qvel[m.jnt_dofadr[joint]]
        force = model.actuator_gainprm[ids, 0] * ctrl + bias[:, 0] + bias[:, 1] * length + bias[:, 2] * speed
        full = ((force <= low) | (force >= high))[:, None]
        constant = jnp.zeros_like(bias).at[:, 0].set(jnp.clip(force, low, high))
        return model.tree_replace(
            {
                "actuator_gainprm": model.actuator_gainprm.at[ids].set(jnp.where(full, 0.0, model.actuator_gainprm[ids])),
                "actuator_biasprm": model.actuator_biasprm.at[ids].set(jnp.where(full, constant, bias)),
            }
        )

    def _lost(self, data: Any) -> jax.Array:
        """Whether a contact may have found no room [] bool."""
        if self.name == "warp":
            from mujoco.mjx.third_party.mujoco_warp._src.types import OverflowType as Kind

            buffers = Kind.NEFC | Kind.NJMAX_NNZ | Kind.BROADPHASE | Kind.NARROWPHASE | Kind.CCD | Kind.EPA_HORIZON
            return (data._impl.overflow & int(buffers)).reshape(-1).any()
        contact = data._impl.contact
        # mjx keeps the deepest of each dimension: where all that it kept touch, one that it dropped may have touched as well.
        groups = [np.flatnonzero(contact.dim == dim) for dim in np.unique(contact.dim)]
        full = [(contact.dist[g] < contact.includemargin[g]).all() for g in groups if len(g) == self._of_each_dimension]
        return jnp.stack(full).any() if full else jnp.asarray(False)


def _joint_servos(m: mujoco.MjModel) -> np.ndarray:
    """The actuators with a force range that drive one slide or hinge joint by an affine law, without activation."""
    one = np.isin(m.jnt_type[m.actuator_trnid[:, 0]], (mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_HINGE))
    law = (m.actuator_gaintype == mujoco.mjtGain.mjGAIN_FIXED) & (m.actuator_biastype == mujoco.mjtBias.mjBIAS_AFFINE)
    plain = (m.actuator_trntype == mujoco.mjtTrn.mjTRN_JOINT) & (m.actuator_dyntype == mujoco.mjtDyn.mjDYN_NONE)
    return np.flatnonzero(one & law & plain & (m.actuator_forcelimited != 0))


def has_gpu() -> bool:
    """Whether JAX sees an NVIDIA GPU."""
    return any(device.platform in ("gpu", "cuda") for device in jax.devices())


def _import(name: str) -> ModuleType:
    """mujoco.mjx, in a set of versions that was tested together."""
    for package in ("mujoco", "mujoco-mjx", *(["warp-lang"] if name == "warp" else [])):
        try:
            got = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            raise MissingExtraError(f"engine {name!r}", package, _EXTRA[name]) from None
        if not got.startswith(TESTED[package]):
            tested = ", ".join(f"{p} {v}*" for p, v in TESTED.items())
            raise EngineError(
                f"engine {name!r}: got {package} {got}, expected {TESTED[package]}* (tested together: {tested}). "
                f"Fix: pip install 'palaestra[{_EXTRA[name]}]'"
            )
    with contextlib.redirect_stdout(io.StringIO()):  # it prints where warp is missing
        from mujoco import mjx
    if name == "warp":
        import warp

        warp.config.log_level = warp.LOG_WARNING  # otherwise a line for every kernel that it loads
    return mjx


def _check_collisions(name: str, m: mujoco.MjModel) -> None:
    """Refuse geoms that can touch and are of no kind that all engines know."""
    for i in range(m.ngeom):
        touches = m.geom_contype[i] or m.geom_conaffinity[i]
        kind = mujoco.mjtGeom(m.geom_type[i])
        if touches and kind not in _SHAPES:
            what = kind.name.removeprefix("mjGEOM_").lower()
            raise EngineError(
                f"engine {name!r}: got the geom {m.geom(i).name!r}, a {what} that can collide; expected planes, spheres, "
                "capsules and boxes. Fix: another shape, contype = conaffinity = 0, or --engine native"
            )


def _default_contacts(m: mujoco.MjModel) -> int:
    """A bound for a model that states none: four points a geom that can touch."""
    return 4 * int(((m.geom_contype | m.geom_conaffinity) != 0).sum())
