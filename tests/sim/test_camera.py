"""What the camera sees, against what is there. Where a machine has no OpenGL, only its message is tested."""

import os
import subprocess
import sys
from collections.abc import Iterator

import mujoco
import numpy as np
import pytest

from palaestra.sim.camera import Camera
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import (
    BUTTON_TRAVEL,
    DENSITY,
    LEAF_OPEN,
    Layout,
    WorldSpec,
    parked_fixture,
    parked_mechanism,
    parked_object,
    world,
)

SPEC = WorldSpec(cubes=1, balls=1, tables=1, bins=1, rooms=1)
RED, GREEN = [0.85, 0.1, 0.1, 1], [0.1, 0.7, 0.2, 1]


@pytest.fixture(scope="module")
def camera() -> Iterator[Camera]:
    try:
        camera = Camera(world(SPEC), height=240, width=320)
    except PalaestraError as error:
        assert "apt-get install libegl1" in str(error)  # noqa: PT017
        pytest.skip(str(error))
    with camera:
        yield camera


def layout(cube: tuple[float, float] = (0.0, 0.0), half: float = 0.05) -> Layout:
    """A room of 4 x 3 m around the origin; the table is in the upper left of it, the bin in the upper right."""
    walls = [(0, -1.5, 2, 0), (0, 1.5, 2, 0), (-2, 0, 0, 1.5), (2, 0, 0, 1.5)]
    return Layout(
        fixture_pos=np.array([[x, y, 0.25] for x, y, _, _ in walls] + [[-1.2, 0.8, 0.08], [1.2, 0.8, 0.0]], np.float32),
        fixture_half=np.array([[a + 0.05, b + 0.05, 0.25] for _, _, a, b in walls] + [[0.16, 0.16, 0.08], [0.15] * 3], np.float32),
        object_half=np.array([half, 0.03], np.float32),
        object_density=np.full(2, DENSITY, np.float32),
        object_friction=np.ones(2, np.float32),
        object_pos=np.array([[*cube, half], parked_object(1)], np.float32),
        object_yaw=np.zeros(2, np.float32),
        object_used=np.array([True, False]),
        robot_q=np.array([-1.0, -0.8, 0.0, 0.1, 0.0, 0.0], np.float32),
    )


def picture(camera: Camera, lay: Layout, **more: object) -> np.ndarray:
    qpos = world(SPEC).initial_qpos(lay)
    return camera.image(qpos, lay, object_rgba=[RED, RED], receptacle_rgba=[GREEN, GREEN], **more)  # type: ignore[arg-type]


def red(image: np.ndarray) -> np.ndarray:
    return image[..., 0].astype(int) - image[..., 1:].max(-1) > 60


def green(image: np.ndarray) -> np.ndarray:
    return image[..., 1].astype(int) - image[..., ::2].max(-1) > 40


def test_picture_has_its_size(camera: Camera) -> None:
    image = picture(camera, layout())
    assert image.shape == (240, 320, 3)
    assert image.dtype == np.uint8
    assert (image == picture(camera, layout())).all()


def test_red_cube_is_seen_where_it_is(camera: Camera) -> None:
    """Farther right is farther right in the picture, farther back is higher up; the unused ball, red too, is nowhere."""
    spots = {}
    for place in ((0.0, 0.0), (1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)):
        rows, columns = np.nonzero(red(picture(camera, layout(place))))
        assert len(rows) > 15
        assert np.ptp(rows) < 25
        assert np.ptp(columns) < 25
        spots[place] = np.array([columns.mean(), rows.mean()])
    middle = spots[0.0, 0.0]
    assert np.abs(middle - (160, 120)).max() < 20
    assert spots[-1.0, 0.0][0] < middle[0] - 40 < middle[0] + 40 < spots[1.0, 0.0][0]
    assert spots[0.0, 1.0][1] < middle[1] - 30 < middle[1] + 30 < spots[0.0, -1.0][1]


def test_size_of_the_cube_is_that_of_the_layout(camera: Camera) -> None:
    small, large = (red(picture(camera, layout(half=half))).sum() for half in (0.04, 0.08))
    assert 3.0 < large / small < 5.0  # an area


def test_whole_house_is_in_the_picture(camera: Camera) -> None:
    """The walls, in a colour that nothing else has, touch no edge, and nearly fill the height or the width."""
    walls = [camera._model.geom(f"wall{i}").id for i in range(SPEC.walls)]
    plain = camera._model.geom_rgba[walls].copy()
    camera._model.geom_rgba[walls] = [1, 0, 1, 1]
    image = picture(camera, layout()).astype(int)
    camera._model.geom_rgba[walls] = plain
    rows, columns = np.nonzero(np.minimum(image[..., 0], image[..., 2]) - image[..., 1] > 40)
    assert 0 < rows.min() < rows.max() < 239
    assert 0 < columns.min() < columns.max() < 319
    assert np.ptp(rows) > 0.85 * 240 or np.ptp(columns) > 0.85 * 320


def test_receptacles_are_coloured_left_and_right(camera: Camera) -> None:
    seen = green(picture(camera, layout()))
    assert seen[:120, :160].sum() > 40  # the table
    assert seen[:120, 160:].sum() > 40  # the bin
    assert seen[160:].sum() == 0


def test_floors_are_tinted(camera: Camera) -> None:
    image = picture(camera, layout((1.0, -1.0)), floors=([[-2.0, -1.5, 2.0, 1.5]], [[0.1, 0.7, 0.2, 1.0]]))
    assert green(image)[110:130, 150:170].all()


def test_over_the_shoulder_sees_what_is_before_the_hand(camera: Camera) -> None:
    grip = (-1.0 + world(SPEC).body.reach + 0.25, -0.8)
    assert red(picture(camera, layout(grip), view="robot")).sum() > red(picture(camera, layout(grip))).sum() * 3


def test_the_world_itself_is_left_alone(camera: Camera) -> None:
    fields = ("geom_size", "geom_rgba", "geom_rbound", "geom_pos", "light_pos", "body_mass")
    before = {name: getattr(world(SPEC).model, name).copy() for name in fields}
    picture(camera, layout())
    assert all((getattr(world(SPEC).model, name) == before[name]).all() for name in fields)
    assert world(SPEC).model.nlight == 0


def test_what_is_asked_wrongly(camera: Camera) -> None:
    with pytest.raises(ValueError, match=r"unknown view 'hous'; expected one of: house, robot. Did you mean 'house'?"):
        picture(camera, layout(), view="hous")
    other = Camera(world(SPEC), 64, 64)
    other.close()
    other.close()
    with pytest.raises(PalaestraError, match="closed"):
        picture(other, layout())


def run(code: str, **env: str) -> "subprocess.CompletedProcess[str]":
    code = "from palaestra.sim.camera import Camera\nfrom palaestra.sim.world import WorldSpec, world\n" + code
    whole = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")} | env
    return subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", code], env=whole, capture_output=True, text=True)


@pytest.mark.skipif(sys.platform != "linux", reason="forces a backend that only Linux has")
def test_without_opengl_the_message_says_what_to_install() -> None:
    done = run("Camera(world(WorldSpec()))", MUJOCO_GL="egl", MUJOCO_EGL_DEVICE_ID="99")
    assert done.returncode == 1
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith("palaestra.sim.errors.PalaestraError: camera pictures need OpenGL without a screen; tried egl:")
    assert "apt-get install libegl1, or libosmesa6" in said
    assert "The film from above works without it" in said


@pytest.mark.skipif(sys.platform != "linux", reason="forces a backend that only Linux has")
def test_second_backend_is_taken_where_the_first_fails() -> None:
    """And a camera that is never closed ends quietly with its process."""
    done = run("c = Camera(world(WorldSpec()), 32, 32); print(type(c._gl).__module__)", MUJOCO_EGL_DEVICE_ID="99")
    if done.returncode:
        assert "tried egl:" in done.stderr
        assert "; osmesa:" in done.stderr
        pytest.skip("no OSMesa on this machine; the message names both")
    assert done.stdout.strip() == "mujoco.osmesa"
    assert done.stderr.strip() == ""


def test_copy_has_the_physics_bodies(camera: Camera) -> None:
    """Names, joints and bodies agree, so that qpos means the same in both."""
    ours, theirs = camera._model, world(SPEC).model
    assert (ours.nq, ours.nbody, ours.nmocap) == (theirs.nq, theirs.nbody, theirs.nmocap)
    body = mujoco.mjtObj.mjOBJ_BODY
    names = [[mujoco.mj_id2name(m, body, i) for i in range(m.nbody)] for m in (ours, theirs)]
    assert names[0] == names[1]


# --- doors, buttons and plates ------------------------------------------------------------------------------------

MECHANISMS = WorldSpec(cubes=1, balls=1, tables=2, plates=1, bins=1, rooms=2, leaves=1, buttons=1)
GREY = [0.5, 0.5, 0.5, 1]


@pytest.fixture(scope="module")
def second() -> Iterator[Camera]:
    try:
        camera = Camera(world(MECHANISMS), height=240, width=320)
    except PalaestraError as error:
        pytest.skip(str(error))
    with camera:
        yield camera


def mechanisms(leaf: bool = True, button: bool = True) -> Layout:
    """The room of `layout`: a leaf in its middle along x, a button at the lower right, a plate at the lower left."""
    lay, walls = layout(), MECHANISMS.walls - 4
    aside = [parked_fixture(i) for i in range(walls)]
    return lay.replace(
        fixture_pos=np.array([*lay.fixture_pos[:4], *aside, lay.fixture_pos[4], [-1.2, -0.4, 0.08], lay.fixture_pos[5]], np.float32),
        fixture_half=np.array([*lay.fixture_half[:4], *[[0.1] * 3] * walls, *lay.fixture_half[[4, 4, 5]]], np.float32),
        object_used=np.array([False, False]),
        leaf_pos=np.array([[-0.5, 0.0] if leaf else parked_mechanism(0)], np.float32),
        leaf_quat=np.array([[1, 0, 0, 0]], np.float32),
        leaf_angle=np.zeros(1, np.float32),
        button_pos=np.array([[1.2, -0.6] if button else parked_mechanism(1)], np.float32),
    )


def look(camera: Camera, lay: Layout, *, angle: float = 0.0, up: float = 0.0, view: str = "house", **rgba: object) -> np.ndarray:
    """A picture in which everything is grey but what is given."""
    qpos = np.array(world(MECHANISMS).initial_qpos(lay))
    qpos[-2:] = angle, up
    plain = {"object_rgba": [GREY] * 2, "receptacle_rgba": [GREY] * 3, "leaf_rgba": [GREY], "button_rgba": [GREY]}
    return camera.image(qpos, lay, view=view, **plain | rgba)  # type: ignore[arg-type]


def test_leaf_is_seen_to_swing(second: Camera) -> None:
    """Shut it lies along the picture, open it points away, in its colour."""
    shut, open_ = (red(look(second, mechanisms(), angle=angle, leaf_rgba=[RED])) for angle in (0.0, LEAF_OPEN))
    (_, columns), (_, fewer) = np.nonzero(shut), np.nonzero(open_)
    assert np.ptp(columns) > 50
    assert np.ptp(fewer) < 30
    assert abs(fewer.mean() - columns.min()) < 25  # the hinge is at the left


def test_cap_of_a_button_is_seen_going_down(second: Camera) -> None:
    near = mechanisms().replace(button_pos=np.array([[-1.0 + world(MECHANISMS).body.reach + 0.2, -0.8]], np.float32))
    up, down = (red(look(second, near, up=way, view="robot", button_rgba=[RED])) for way in (0.0, -BUTTON_TRAVEL))
    assert up.sum() > 100
    assert np.nonzero(down)[0].min() > np.nonzero(up)[0].min()
    rows, columns = np.nonzero(red(look(second, mechanisms(), button_rgba=[RED])))
    assert rows.min() > 120  # the lower right of the house
    assert columns.min() > 200


def test_what_is_parked_is_not_seen(second: Camera) -> None:
    for away, rgba in ((mechanisms(leaf=False), {"leaf_rgba": [RED]}), (mechanisms(button=False), {"button_rgba": [RED]})):
        assert red(look(second, mechanisms(), **rgba)).any()
        assert not red(look(second, away, **rgba)).any()
    hidden = {second._model.geom(i).name for i in np.flatnonzero(second._model.geom_rgba[:, 3] == 0)}
    assert {"post0", "cap0"} <= hidden


def test_plate_is_a_bright_pad_in_a_dark_frame(second: Camera) -> None:
    plate, table = ([GREEN if i == k else GREY for i in range(3)] for k in (1, 0))
    seen = [look(second, mechanisms(), receptacle_rgba=rgba).astype(int) for rgba in (plate, table)]
    bright = [(green(image) & (image[..., 1] > 110)).sum() for image in seen]
    dark = [(image[..., 1] - image[..., ::2].max(-1) > 12).sum() - b for image, b in zip(seen, bright, strict=True)]
    assert min(bright) > 40
    assert dark[0] / bright[0] > 1.3 * dark[1] / bright[1]
