"""Pictures of a world in perspective, by MuJoCo's own renderer. Needs OpenGL; `palaestra.envs.render` draws from above without.

A camera looks at a private copy of the world, which has lights and materials on top: the physics is never touched.
"""

import importlib
import os
import sys
from types import TracebackType
from typing import Any

import mujoco
import numpy as np

from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.sim.world import Layout, World, build_spec

VIEWS = ("house", "robot")
_BACKENDS = {"linux": ("egl", "osmesa"), "darwin": ("cgl",)}  # without a screen; elsewhere glfw
_FIELD = 38.0  # degrees, vertical
_HOUSE = (90.0, -58.0)  # degrees: azimuth and elevation of the view of the whole house
_SHOULDER = (-38.0, 1.15)  # degrees and m: elevation and distance of the view over the robot's shoulder
_NEAR_HOME = 30.0  # m: fixtures farther out are parked


class Camera:
    """Takes pictures of states of one world. Not for use from several threads.

    Args:
        world: whose states.
        height, width: of the pictures, in pixels.
    """

    def __init__(self, world: World, height: int = 480, width: int = 640):
        self.world, self.height, self.width = world, height, width
        self._model = _visual_model(world, height, width)
        self._data = mujoco.MjData(self._model)
        self._gl: Any = _context(width, height)
        self._scene = mujoco.MjvScene(self._model, maxgeom=200)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = True
        self._option = mujoco.MjvOption()
        self._option.sitegroup[:] = 0
        self._render = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._render)

    def image(
        self, qpos: Any, layout: Layout, *, object_rgba: Any = None, receptacle_rgba: Any = None, view: str = "house"
    ) -> np.ndarray:
        """One picture, uint8 [height, width, 3].

        Args:
            qpos: [nq] of one environment.
            layout: what that environment was started with.
            object_rgba: [O, 4] in [0, 1]; plain without.
            receptacle_rgba: [tables + bins, 4] in [0, 1]; plain without.
            view: `house`, all of it from above at a slant, or `robot`, over its shoulder.
        """
        if view not in VIEWS:
            raise UnknownNameError("view", view, VIEWS)
        if self._gl is None:
            raise PalaestraError("image() of a camera that was closed. Fix: make a new Camera")
        self._write(np.asarray(qpos), layout, object_rgba, receptacle_rgba)
        eye = self._robot(np.asarray(qpos)) if view == "robot" else self._house(layout)
        self._gl.make_current()
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self._model, self._data, self._option, None, eye, everything, self._scene)
        rect, pixels = mujoco.MjrRect(0, 0, self.width, self.height), np.empty((self.height, self.width, 3), np.uint8)
        mujoco.mjr_render(rect, self._scene, self._render)
        mujoco.mjr_readPixels(pixels, None, rect, self._render)
        return np.flipud(pixels).copy()

    def _write(self, qpos: np.ndarray, layout: Layout, object_rgba: Any, receptacle_rgba: Any) -> None:
        """Bring the private model to the state."""
        w, m, d, spec = self.world, self._model, self._data, self.world.spec
        half, size = np.asarray(layout.fixture_half, float), np.asarray(layout.object_half, float)
        m.geom_size[w.box_geom] = half[: len(w.box_geom)]
        m.geom_size[w.object_geom] = size[:, None]
        m.geom_rbound[w.box_geom] = np.linalg.norm(half[: len(w.box_geom)], axis=-1)
        m.geom_rbound[w.object_geom] = size * np.sqrt(3.0)
        if object_rgba is not None:
            m.geom_rgba[w.object_geom] = object_rgba
        m.geom_rgba[w.object_geom, 3] = np.asarray(layout.object_used)
        if receptacle_rgba is not None:
            rgba = np.array(receptacle_rgba, float)
            m.geom_rgba[w.box_geom[spec.walls :]] = rgba[: spec.tables]
            body = m.geom_bodyid
            for i in range(spec.bins):
                m.geom_rgba[body == m.body(f"bin{i}").id] = rgba[spec.tables + i]
        d.mocap_pos[w.fixture_mocap] = layout.fixture_pos
        d.qpos[:] = qpos
        mujoco.mj_kinematics(m, d)
        mujoco.mj_comPos(m, d)
        mujoco.mj_camlight(m, d)

    def _house(self, layout: Layout) -> mujoco.MjvCamera:
        """As near as shows every wall."""
        pos, half = np.asarray(layout.fixture_pos, float), np.asarray(layout.fixture_half, float)
        walls = np.arange(len(pos)) < self.world.spec.walls
        there = walls & (np.abs(pos) < _NEAR_HOME).all(-1)
        low, high = (pos - half)[there].min(0), (pos + half)[there].max(0)
        corners = np.stack(np.meshgrid(*zip(low, high, strict=True)), -1).reshape(-1, 3) - (low + high) / 2
        azimuth, elevation = np.radians(_HOUSE)
        forward = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
        right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
        tangent = np.tan(np.radians(_FIELD) / 2)
        across = np.abs(corners @ right) / (tangent * self.width / self.height)
        upright = np.abs(corners @ np.cross(right, forward)) / tangent
        distance = 1.04 * (np.maximum(across, upright) - corners @ forward).max()
        return _eye((low + high) / 2, *_HOUSE, float(distance))

    def _robot(self, qpos: np.ndarray) -> mujoco.MjvCamera:
        body = self.world.body
        q = qpos[: body.num_joints].astype(float)
        grip = q[:2] + body.reach * np.array([np.cos(q[2]), np.sin(q[2])])
        return _eye(np.append(grip, 0.15), float(np.degrees(q[2])), *_SHOULDER)

    def close(self) -> None:
        """Give back what the graphics driver lent; again is fine."""
        if self._gl is not None:
            self._gl.make_current()
            self._render.free()
            self._gl.free()
            self._gl = None

    def __enter__(self) -> "Camera":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_render", None) is not None:
            self.close()


def _eye(at: np.ndarray, azimuth: float, elevation: float, distance: float) -> mujoco.MjvCamera:
    eye = mujoco.MjvCamera()
    eye.type = mujoco.mjtCamera.mjCAMERA_FREE.value
    eye.lookat[:], eye.azimuth, eye.elevation, eye.distance = at, azimuth, elevation, distance
    return eye


def _visual_model(world: World, height: int, width: int) -> mujoco.MjModel:
    """The world again, with lights, a tiled floor and a sky."""
    s = build_spec(world.spec)
    s.stat.center, s.stat.extent = [0, 0, 0.2], 5.0  # of a house, whatever is parked
    s.visual.global_.offwidth, s.visual.global_.offheight = width, height
    s.visual.global_.fovy = _FIELD
    s.visual.quality.offsamples, s.visual.quality.shadowsize = 8, 4096
    s.visual.map.znear, s.visual.map.zfar, s.visual.map.shadowclip = 0.01, 20, 1.0
    s.visual.headlight.ambient, s.visual.headlight.diffuse, s.visual.headlight.specular = [0.34] * 3, [0.26] * 3, [0.0] * 3
    texture, builtin = mujoco.mjtTexture, mujoco.mjtBuiltin
    s.add_texture(
        name="sky", type=texture.mjTEXTURE_SKYBOX, builtin=builtin.mjBUILTIN_GRADIENT, rgb1=[0.93, 0.95, 0.97], rgb2=[0.8, 0.85, 0.9],
        width=64, height=384,
    )  # fmt: skip
    s.add_texture(
        name="tiles", type=texture.mjTEXTURE_2D, builtin=builtin.mjBUILTIN_CHECKER, rgb1=[0.88, 0.86, 0.82], rgb2=[0.85, 0.825, 0.78],
        width=256, height=256,
    )  # fmt: skip
    tiles = s.add_material(name="tiles", texrepeat=[1, 1], texuniform=True, specular=0.1, shininess=0.1)
    tiles.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "tiles"
    floor = s.geom("floor")
    floor.material, floor.rgba = "tiles", [1, 1, 1, 1]
    for finger in ("left", "right"):
        s.geom(finger).rgba = [0.11, 0.49, 0.53, 1]
    s.worldbody.add_light(
        name="sun", type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=[-2, -3, 6], dir=[0.35, 0.5, -1], diffuse=[0.5] * 3,
        specular=[0.12] * 3, castshadow=True,
    )  # fmt: skip
    model = s.compile()
    if not np.array_equal(model.geom_bodyid, world.model.geom_bodyid):
        raise RuntimeError("the camera's copy numbers geoms differently from the world that it copies")
    return model


def _context(width: int, height: int) -> Any:
    """An OpenGL context without a window: MUJOCO_GL's, else the first that works."""
    wanted = os.environ.get("MUJOCO_GL", "").lower().strip()
    names = _BACKENDS.get(sys.platform, ("glfw",))
    names = (wanted,) if wanted in ("egl", "osmesa", "glfw", "cgl") else names
    failures = []
    for name in names:
        platform = os.environ.get("PYOPENGL_PLATFORM")
        try:
            context = importlib.import_module(f"mujoco.{name}").GLContext(width, height)
            context.make_current()
            return context
        except Exception as error:  # whatever a driver or its bindings raise
            failures.append(f"{name}: {type(error).__name__}: {error}")
            _forget_opengl(platform)
    raise PalaestraError(
        f"camera pictures need OpenGL without a screen; tried {'; '.join(failures)}. "
        "Fix: apt-get install libegl1, or libosmesa6 where there is no graphics driver (MUJOCO_GL=egl or osmesa chooses one). "
        "The film from above works without it"
    )


def _forget_opengl(platform: str | None) -> None:
    """PyOpenGL binds itself to the first platform that is tried in a process; let the next one begin anew."""
    if platform is None:
        os.environ.pop("PYOPENGL_PLATFORM", None)
    for name in [n for n in sys.modules if n.split(".")[0] == "OpenGL" or n.startswith(("mujoco.egl", "mujoco.osmesa"))]:
        del sys.modules[name]
