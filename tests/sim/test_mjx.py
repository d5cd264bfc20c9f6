"""The engines of mujoco.mjx where something is wrong: versions, devices, models, buffers, states. Physics: test_parity.py."""

import importlib.metadata
import warnings

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from palaestra.sim import engines, mjx
from palaestra.sim.engine import EngineError
from palaestra.sim.engines import best, compiler_options, make_engine
from palaestra.sim.errors import MissingExtraError, UnknownNameError
from palaestra.sim.mjx import MjxEngine
from palaestra.sim.native import NativeEngine
from palaestra.sim.world import ModelWorld, world
from tests.sim.scenes import PENDULUM, SMALL

# Three balls on the floor, and room for two contacts: one of a dimension for mjx, all six of three simulations for warp.
BALLS = """<mujoco><custom><numeric name="max_contact_points" data="2"/></custom><option timestep="0.01"/><worldbody>
<geom type="plane" size="0 0 1"/><body pos="0 0 0.099"><freejoint/><geom size="0.1"/></body>
<body pos="1 0 0.099"><freejoint/><geom size="0.1"/></body><body pos="2 0 0.099"><freejoint/><geom size="0.1"/></body>
</worldbody></mujoco>"""


def pendulum():
    return ModelWorld(mujoco.MjModel.from_xml_string(PENDULUM), substeps=2)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="options of XLA's CPU compiler")
def test_an_xla_without_the_option_compiles_without_it(monkeypatch):
    monkeypatch.setattr(engines, "_CPU_OPTIONS", {"xla_cpu_of_another_version": ""})
    assert compiler_options.__wrapped__() == {}
    monkeypatch.undo()
    x = jnp.linspace(-1.0, 1.0, 512 * 64).reshape(512, 64)
    plain, ours = (jax.jit(lambda x: jnp.tanh(x @ x.T), compiler_options=options)(x) for options in ({}, compiler_options()))
    np.testing.assert_allclose(plain, ours, rtol=1e-5, atol=1e-5)


def test_unknown_names_list_the_engines():
    with pytest.raises(UnknownNameError, match=r"unknown engine 'mjxx'; expected one of: auto, mjx, native, warp. Did you mean 'mjx'"):
        make_engine("mjxx", world(SMALL))


def test_auto_is_native_where_there_is_no_gpu():
    if not mjx.has_gpu():
        assert best() == "native"
        assert make_engine("auto", pendulum()).name == "native"


@pytest.mark.parametrize(("name", "package", "extra"), [("mjx", "mujoco-mjx", "mjx"), ("warp", "warp-lang", "warp")])
def test_an_absent_package_is_named_with_its_extra(monkeypatch, name, package, extra):
    real = importlib.metadata.version

    def version(asked):
        if asked == package:
            raise importlib.metadata.PackageNotFoundError(asked)
        return real(asked)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(MissingExtraError, match=rf"engine '{name}' needs the package '{package}'.*palaestra\[{extra}\]"):
        MjxEngine(pendulum(), name, on_cpu=True)


def test_versions_that_were_not_tested_together_are_refused(monkeypatch):
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda p: "3.99.1" if p == "mujoco-mjx" else real(p))
    with pytest.raises(EngineError, match=r"got mujoco-mjx 3.99.1, expected 3.17.\* \(tested together: mujoco 4.0.\*, .* Fix: pip install"):
        MjxEngine(pendulum())


def test_warp_without_a_gpu_is_refused():
    pytest.importorskip("warp")
    if not mjx.has_gpu():
        with pytest.raises(EngineError, match=r"engine 'warp': got no NVIDIA GPU .* Fix: --engine native"):
            make_engine("warp", world(SMALL))


def test_threads_belong_to_the_native_engine():
    with pytest.raises(EngineError, match="threads: got 2 for the engine 'mjx', expected 0"):
        make_engine("mjx", pendulum(), threads=2)


@pytest.mark.parametrize("name", ["mjx", "warp"])
def test_shapes_that_not_all_engines_know_are_named(name):
    if name == "warp":
        pytest.importorskip("warp")
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><worldbody><geom type="plane" size="1 1 1"/><body pos="0 0 1"><freejoint/>'
        '<geom name="can" type="cylinder" size="0.1 0.2"/></body></worldbody></mujoco>'
    )
    with pytest.raises(EngineError, match=f"engine '{name}': got the geom 'can', a cylinder that can collide; expected planes, spheres"):
        MjxEngine(ModelWorld(model), name, on_cpu=True)


def test_what_mjx_does_not_implement_is_an_engine_error():
    model = mujoco.MjModel.from_xml_string(PENDULUM)
    model.opt.solver = mujoco.mjtSolver.mjSOL_PGS
    with pytest.raises(EngineError, match=r"engine 'mjx' lacks something that this model uses: .*PGS.* Fix: --engine native"):
        MjxEngine(ModelWorld(model))


def test_outputs_that_mjx_keeps_to_itself_are_refused():
    with pytest.raises(EngineError, match=r"got the output 'cfrc_ext', expected a public field of mjx.Data"):
        MjxEngine(ModelWorld(mujoco.MjModel.from_xml_string(PENDULUM), outputs=("cfrc_ext",)))


@pytest.mark.parametrize("name", ["mjx", "warp"])
def test_a_contact_that_finds_no_room_is_reported_with_its_simulation(name, capfd):
    if name == "warp":
        pytest.importorskip("warp")
    w = ModelWorld(mujoco.MjModel.from_xml_string(BALLS))
    engine = MjxEngine(w, name, max_contacts=2, on_cpu=True)
    step = jax.jit(jax.vmap(engine.step))
    start = jax.vmap(engine.at)(jnp.tile(jnp.asarray(w.model.qpos0, jnp.float32), (3, 1)), jnp.zeros((3, w.model.nv)))
    high = start.qpos.at[:2, jnp.asarray([2, 9, 16])].add(1.0)  # the first two do not touch the floor
    start = jax.vmap(engine.at)(high, start.qvel)
    lost = np.asarray(step(start, jnp.zeros((3, 0))).overflow)
    if name == "mjx":
        np.testing.assert_array_equal(lost, [False, False, True])
    else:  # three contacts in a buffer of six, then nine: the buffer is everyone's, and so is its overflow
        assert not lost.any()
        full = jax.vmap(engine.at)(jnp.tile(jnp.asarray(w.model.qpos0, jnp.float32), (3, 1)), start.qvel)
        assert np.asarray(step(full, jnp.zeros((3, 0))).overflow).any()
    assert "overflow" not in capfd.readouterr().out


def test_outputs_are_those_of_c():
    model = mujoco.MjModel.from_xml_string(PENDULUM)
    ends = []
    for engine in (NativeEngine(ModelWorld(model, 3, ("xpos", "xquat"))), MjxEngine(ModelWorld(model, 3, ("xpos", "xquat")))):
        state, step = engine.at(jnp.asarray([0.7]), jnp.asarray([0.1])), jax.jit(engine.step)
        for _ in range(5):
            state = step(state, jnp.zeros(0))
        ends.append(state)
    for name in ("xpos", "xquat"):
        np.testing.assert_allclose(np.asarray(ends[1].outputs[name]), np.asarray(ends[0].outputs[name]), atol=1e-6)
    # One format of state: what the native engine left, mjx goes on with.
    np.testing.assert_allclose(np.asarray(ends[0].bits).view(np.float64), np.asarray(ends[1].bits).view(np.float64), atol=1e-9)


def test_a_simulation_that_diverges_is_dumped(tmp_path):
    engine = MjxEngine(pendulum(), dump=tmp_path)
    start = jax.jit(jax.vmap(engine.at))(jnp.asarray([[0.1], [0.2]]), jnp.zeros((2, 1)))
    rows = np.asarray(start.bits).copy().view(np.float64)
    rows[1, 2] = np.inf
    after = jax.jit(jax.vmap(engine.step))(start.replace(bits=jnp.asarray(rows.view(np.uint32))), jnp.zeros((2, 0)))
    np.testing.assert_array_equal(np.asarray(after.diverged), [False, True])
    jax.effects_barrier()
    (path,) = tmp_path.glob("diverged-*.npz")
    with np.load(path) as saved:
        np.testing.assert_array_equal(saved["ids"], [1])
        np.testing.assert_array_equal(saved["rows"][0], rows[1])


def test_float64_inside_leaves_the_rest_of_the_program_alone():
    engine = MjxEngine(pendulum())
    state = jax.jit(engine.step)(engine.at(jnp.asarray([0.3]), jnp.zeros(1)), jnp.zeros(0))
    assert {x.dtype for x in jax.tree.leaves(state)} == {jnp.dtype(t) for t in ("uint32", "float32", "bool")}
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        assert jnp.asarray(np.zeros(2)).dtype == jnp.float32
