"""Pictures of a world in perspective, by MuJoCo's own renderer. Needs OpenGL; `palaestra.envs.display.render` draws from above without.

A camera looks at a private copy of the world, which has lights and materials on top: the physics is never touched.
"""

import importlib
import os
import sys
import weakref
from types import TracebackType
from typing import Any

import mujoco
import numpy as np

from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.sim.world import (
    BUTTON_HALF,
    BUTTON_POST,
    LEAF_HALF,
    LEAF_HEIGHT,
    LEAF_LENGTH,
    TOGGLE_ON,
    Layout,
    World,
    WorldSpec,
    build_spec,
    lid_hinges,
)

VIEWS = ("house", "robot")
_BACKENDS = {"linux": ("egl", "osmesa"), "darwin": ("cgl",)}  # without a screen; elsewhere glfw
_FIELD = 38.0  # degrees, vertical
_HOUSE = (80.0, -58.0)  # degrees: azimuth and elevation of the view of the whole house
_SHOULDER = (34.0, -40.0, 1.20)  # degrees from the heading, elevation, and m: the view over the robot's shoulder
_NEAR_HOME = 30.0  # m: what is farther out is parked
_FRAME = 0.025  # m, of a pressure plate, around its pad
_LAMP_SIZE = 0.012  # m, radius
_DARK = 0.45  # a frame's brightness, the pad's being 1; and a cabinet's, its drawer's being 1
_LID = 0.75  # a lid's brightness, its bin's being 1
# Of a crate, the battens along its edges and across its sides: centre and half sizes, the crate's own half size being 1.
_BATTENS = [
    *(((x, y, 0.0), (0.09, 0.09, 1.01)) for x in (-0.93, 0.93) for y in (-0.93, 0.93)),
    *(((x, 0.0, z), (0.09, 0.85, 0.09)) for x in (-0.93, 0.93) for z in (-0.93, 0.93)),
    *(((0.0, y, z), (0.85, 0.09, 0.09)) for y in (-0.93, 0.93) for z in (-0.93, 0.93)),
    *(((0.0, y, 0.0), (0.85, 0.02, 0.09)) for y in (-0.99, 0.99)),
    *(((x, 0.0, 0.0), (0.02, 0.85, 0.09)) for x in (-0.99, 0.99)),
    ((0.0, 0.0, 0.99), (0.85, 0.09, 0.02)),
]
_STEEL = [0.25, 0.27, 0.31, 1]
_LAMP = {True: [1.0, 0.86, 0.25, 1], False: [0.12, 0.13, 0.15, 1]}  # of a toggle that is on, and off
_PLATE = [0.93, 0.93, 0.91, 1]  # by which a swing door is pushed


class Camera:
    """Takes pictures of states of one world. Not for use from several threads.

    Args:
        world: whose states.
        height, width: of the pictures, in pixels.
    """

    def __init__(self, world: World, height: int = 480, width: int = 640):
        self.world, self.height, self.width, spec = world, height, width, world.spec
        self._model = _visual_model(world, height, width)
        self._data = mujoco.MjData(self._model)
        copy, original = self._model, world.model
        self._box, self._object = ([copy.geom(original.geom(i).name).id for i in ids] for ids in (world.box_geom, world.object_geom))
        self._mechanism = [copy.body(f"{kind}{i}").id for kind, n in (("leaf", spec.leaves), ("button", spec.buttons)) for i in range(n)]
        self._lid = [copy.body(f"lid{i}").id for i in range(spec.hampers)]
        self._cabinet = [copy.body(f"drawer{i}").id for i in range(spec.drawers)]
        self._gl: Any = _context(width, height)
        self._scene = mujoco.MjvScene(self._model, maxgeom=200)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = True
        self._option = mujoco.MjvOption()
        self._option.sitegroup[:] = 0
        self._render = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._render)
        self._free = weakref.finalize(self, _free, self._gl, self._render)

    def image(
        self,
        qpos: Any,
        layout: Layout,
        *,
        object_rgba: Any = None,
        receptacle_rgba: Any = None,
        leaf_rgba: Any = None,
        button_rgba: Any = None,
        floors: tuple[Any, Any] | None = None,
        view: str = "house",
    ) -> np.ndarray:
        """One picture, uint8 [height, width, 3].

        Args:
            qpos: [nq] of one environment.
            layout: what that environment was started with.
            object_rgba: [O, 4] in [0, 1]; plain without.
            receptacle_rgba: [tables + bins + drawers, 4] in [0, 1]; plain without.
            leaf_rgba: [L, 4] in [0, 1]; plain without.
            button_rgba: [U, 4] in [0, 1], of the caps; plain without.
            floors: coloured rectangles on the ground: x0, y0, x1, y1 [N, 4] m and rgba [N, 4].
            view: `house`, all of it from above at a slant, or `robot`, over its shoulder.
        """
        if view not in VIEWS:
            raise UnknownNameError("view", view, VIEWS)
        if not self._free.alive:
            raise PalaestraError("image() of a camera that was closed. Fix: make a new Camera")
        self._write(np.asarray(qpos), layout)
        self._paint(layout, object_rgba, receptacle_rgba, leaf_rgba, button_rgba)
        eye = self._robot(np.asarray(qpos)) if view == "robot" else self._house(layout)
        self._gl.make_current()
        mujoco.mjv_updateCamera(self._model, self._data, eye, self._scene)  # first: the headlight is placed where the camera was
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self._model, self._data, self._option, None, eye, everything, self._scene)
        for room, rgba in zip(*floors, strict=True) if floors is not None else ():
            self._carpet(np.asarray(room, float), np.asarray(rgba, np.float32))
        rect, pixels = mujoco.MjrRect(0, 0, self.width, self.height), np.empty((self.height, self.width, 3), np.uint8)
        mujoco.mjr_render(rect, self._scene, self._render)
        mujoco.mjr_readPixels(pixels, None, rect, self._render)
        return np.flipud(pixels).copy()

    def _write(self, qpos: Any, layout: Layout) -> None:
        """Bring the private model to the state."""
        w, m, d, spec = self.world, self._model, self._data, self.world.spec
        half, size = np.asarray(layout.fixture_half, float), np.asarray(layout.object_half, float)
        # Faces of different walls must not coincide: the renderer could not tell which is in front.
        thinner = 4e-4 * np.minimum(np.arange(len(self._box)), spec.walls)[:, None]
        m.geom_size[self._box] = half[: len(self._box)] - thinner
        m.geom_size[self._object] = size[:, None]
        m.geom_rbound[self._box] = np.linalg.norm(half[: len(self._box)], axis=-1)
        m.geom_rbound[self._object] = size * np.sqrt(3.0)
        for i in range(spec.plates):
            table, pad = half[spec.walls + spec.tables - spec.plates + i], m.geom(f"pad{i}").id
            m.geom_size[pad, :2] = table[:2] - _FRAME
            m.geom_pos[pad, 2] = table[2]
            m.geom_rbound[pad] = np.linalg.norm(table)
        for i, crate in enumerate(size[spec.portables :]):
            for k, (at, extent) in enumerate(_BATTENS):
                batten = m.geom(f"crate{i}_{k}").id
                m.geom_pos[batten], m.geom_size[batten] = crate * np.array(at), crate * np.array(extent)
                m.geom_rbound[batten] = crate * np.linalg.norm(extent)
        if self._mechanism:
            m.body_pos[self._mechanism, :2] = np.concatenate([layout.leaf_pos, layout.button_pos])
            m.body_quat[self._mechanism[: spec.leaves]] = layout.leaf_quat
        mocap = len(w.fixture_mocap)
        if self._lid:
            bins = np.asarray(layout.fixture_pos)[mocap - spec.hampers : mocap, :2]
            m.body_pos[self._lid, :2] = lid_hinges(bins, np.asarray(layout.lid_quat))
            m.body_quat[self._lid] = layout.lid_quat
        if self._cabinet:
            m.body_pos[self._cabinet, :2] = np.asarray(layout.fixture_pos)[mocap:, :2]
            m.body_quat[self._cabinet] = layout.drawer_quat
        for i in range(spec.buttons - spec.toggles, spec.buttons):
            m.geom_rgba[m.geom(f"lamp{i}").id] = _LAMP[bool(w.mechanism_q(qpos)[1][i] < -TOGGLE_ON / 2)]
        d.mocap_pos[w.fixture_mocap] = np.asarray(layout.fixture_pos)[:mocap]
        d.qpos[:] = qpos
        mujoco.mj_kinematics(m, d)
        mujoco.mj_comPos(m, d)
        mujoco.mj_camlight(m, d)

    def _paint(self, layout: Layout, objects: Any, receptacles: Any, leaves: Any, buttons: Any) -> None:
        """Give things their colours, and hide those that are not there."""
        m, spec = self._model, self.world.spec
        if objects is not None:
            m.geom_rgba[self._object] = objects
        m.geom_rgba[self._object, 3] = np.asarray(layout.object_used)
        for i, crate in enumerate(self._object[spec.portables :]):
            for k in range(len(_BATTENS)):
                m.geom_rgba[m.geom(f"crate{i}_{k}").id] = m.geom_rgba[crate] * [_DARK, _DARK, _DARK, 1]
        if receptacles is not None:
            rgba, first = np.array(receptacles, float), spec.tables - spec.plates
            m.geom_rgba[self._box[spec.walls :]] = rgba[: spec.tables]
            for i in range(spec.plates):
                m.geom_rgba[m.geom(f"pad{i}").id] = rgba[first + i]
                m.geom_rgba[self._box[spec.walls + first + i], :3] *= _DARK
            for i in range(spec.bins):
                m.geom_rgba[m.geom_bodyid == m.body(f"bin{i}").id] = rgba[spec.tables + i]
            for i, body in enumerate(self._lid):
                m.geom_rgba[m.geom_bodyid == body] = rgba[spec.tables + spec.bins - spec.hampers + i] * [_LID, _LID, _LID, 1]
            for i in range(spec.drawers):
                colour = rgba[spec.tables + spec.bins + i]
                m.geom_rgba[m.geom_bodyid == m.body(f"tray{i}").id] = colour
                m.geom_rgba[m.geom_bodyid == self._cabinet[i]] = colour * [_DARK, _DARK, _DARK, 1]
                for part in ("neck", "handle"):
                    m.geom_rgba[m.geom(f"{part}{i}").id] = _STEEL
        for name, rgba in (("leaf", leaves), ("cap", buttons)):
            for i, colour in enumerate(rgba if rgba is not None else ()):
                m.geom_rgba[m.geom(f"{name}{i}").id] = colour
        for body, at in zip(self._mechanism, np.concatenate([layout.leaf_pos, layout.button_pos]), strict=True):
            mine = m.body_rootid[m.geom_bodyid] == body
            m.geom_rgba[mine, 3] = (np.abs(at) < _NEAR_HOME).all()

    def _carpet(self, room: np.ndarray, rgba: np.ndarray) -> None:
        """A rectangle that lies on the floor of the picture alone."""
        geom = self._scene.geoms[self._scene.ngeom]
        centre, half = (room[:2] + room[2:]) / 2, (room[2:] - room[:2]) / 2
        box = mujoco.mjtGeom.mjGEOM_BOX.value
        mujoco.mjv_initGeom(geom, box, np.array([*half, 5e-4]), np.array([*centre, 5e-4]), np.eye(3).ravel(), rgba)
        self._scene.ngeom += 1

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
        up, tangent = np.cross(right, forward), np.tan(np.radians(_FIELD) / 2)
        # Seen in perspective the middle of a house is not the middle of its picture: aim where one can go nearest.
        aims = up * np.linspace(-0.6, 0.2, 17)[:, None]
        seen = corners - aims[:, None]
        across, upright = np.abs(seen @ right) * self.height / self.width, np.abs(seen @ up)
        distance = (np.maximum(across, upright) / tangent - seen @ forward).max(-1)
        height = (seen @ up) / (distance[:, None] + seen @ forward)
        best = int((distance + 0.5 * np.abs(height.max(-1) + height.min(-1))).argmin())
        return _eye((low + high) / 2 + aims[best], *_HOUSE, 1.03 * float(distance[best]))

    def _robot(self, qpos: np.ndarray) -> mujoco.MjvCamera:
        body = self.world.body
        q = qpos[: body.num_joints].astype(float)
        aside, elevation, distance = _SHOULDER
        ahead = q[:2] + 0.6 * body.reach * np.array([np.cos(q[2]), np.sin(q[2])])
        return _eye(np.append(ahead, 0.25), float(np.degrees(q[2])) + aside, elevation, distance)

    def close(self) -> None:
        """Give back what the graphics driver lent; again is fine."""
        self._free()

    def __enter__(self) -> "Camera":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _free(gl: Any, render: mujoco.MjrContext) -> None:
    with gl.as_current():
        render.free()
    gl.free()


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
    s.visual.map.znear, s.visual.map.zfar, s.visual.map.shadowclip = 0.01, 20, 1.6
    s.visual.headlight.ambient, s.visual.headlight.diffuse, s.visual.headlight.specular = [0.40] * 3, [0.24] * 3, [0.0] * 3
    texture, builtin = mujoco.mjtTexture, mujoco.mjtBuiltin
    s.add_texture(
        name="sky", type=texture.mjTEXTURE_SKYBOX, builtin=builtin.mjBUILTIN_GRADIENT, rgb1=[0.93, 0.95, 0.97], rgb2=[0.8, 0.85, 0.9],
        width=64, height=384,
    )  # fmt: skip
    s.add_texture(
        name="tiles", type=texture.mjTEXTURE_2D, builtin=builtin.mjBUILTIN_CHECKER, rgb1=[0.84, 0.85, 0.86], rgb2=[0.815, 0.825, 0.84],
        width=256, height=256,
    )  # fmt: skip
    tiles = s.add_material(name="tiles", texrepeat=[1, 1], texuniform=True, specular=0.1, shininess=0.1)
    tiles.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "tiles"
    floor = s.geom("floor")
    floor.material, floor.rgba = "tiles", [1, 1, 1, 1]
    _dress(s)
    _dress_mechanisms(s, world.spec)
    s.worldbody.add_light(
        name="sun", type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=[-2, -3, 6], dir=[0.35, 0.5, -1], diffuse=[0.44] * 3,
        specular=[0.12] * 3, castshadow=True,
    )  # fmt: skip
    return s.compile()


def _dress(s: mujoco.MjSpec) -> None:
    """What makes the robot's heading and hand easy to see: a band, a head with an eye, coloured fingers."""
    accent, dark = [0.11, 0.49, 0.53, 1], [0.16, 0.18, 0.22, 1]
    for finger in ("left", "right"):
        s.geom(finger).rgba = accent
    base, cylinder, box = s.body("base"), mujoco.mjtGeom.mjGEOM_CYLINDER, mujoco.mjtGeom.mjGEOM_BOX
    base.add_geom(type=cylinder, pos=[0, 0, 0.13], size=[0.1215, 0.014, 0], rgba=accent)
    base.add_geom(type=box, pos=[0.01, 0, 0.62], size=[0.045, 0.06, 0.035], rgba=[0.93, 0.94, 0.96, 1])
    base.add_geom(type=cylinder, pos=[0.058, 0, 0.62], size=[0.022, 0.005, 0], quat=[0.7071, 0, 0.7071, 0], rgba=dark)


def _dress_mechanisms(s: mujoco.MjSpec, spec: WorldSpec) -> None:
    """What tells a pressure plate from a table, a crate from a cube, a leaf's free edge from its hinge, and a toggle from a button: a pad
    in a frame, battens, handles, plates on swing doors, and a lamp."""
    box, sphere = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_SPHERE
    for i in range(spec.plates):
        table = s.body(f"table{spec.tables - spec.plates + i}")
        table.add_geom(name=f"pad{i}", type=box, pos=[0, 0, 0.1], size=[0.1, 0.1, 0.004])  # not in the middle, which could not be moved
    for i in range(spec.crates):
        for k in range(len(_BATTENS)):
            s.body(f"crate{i}").add_geom(
                name=f"crate{i}_{k}", type=box, pos=[0, 0, 0.01 * (k + 1)], size=[0.01] * 3, contype=0, conaffinity=0
            )
    for i in range(spec.buttons - spec.toggles, spec.buttons):
        post, corner = s.body(f"button{i}"), BUTTON_HALF - _LAMP_SIZE
        post.add_geom(name=f"lamp{i}", type=sphere, pos=[corner, -corner, BUTTON_POST + _LAMP_SIZE], size=[_LAMP_SIZE, 0, 0])
    for i in range(spec.leaves):
        leaf, at = s.body(f"leaf{i}"), [LEAF_LENGTH - 0.09, 0, 0]
        if i < spec.locks:
            leaf.add_geom(name=f"handles{i}", type=sphere, pos=at, size=[LEAF_HALF + 0.02, 0, 0], rgba=_STEEL)
        else:
            leaf.add_geom(name=f"handles{i}", type=box, pos=at, size=[0.07, LEAF_HALF + 0.015, LEAF_HEIGHT / 2 - 0.06], rgba=_PLATE)


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
            os.environ["MUJOCO_GL"] = name  # MuJoCo asks for it when it loads the functions of OpenGL
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
