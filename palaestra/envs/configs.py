"""Generator configurations: which tasks of a set to draw, as JSON that people and language models write.

A `Space` says what can be told to the generator of one set, and within which limits. The schema, its words, the checks and the
traced ranges come from it, so a configuration that could not generate is refused before anything is drawn, and another
one never compiles again.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs.filters import num_rooms, num_spare, num_terms
from palaestra.envs.generation.formulas import DRIVES, KINDS, RULES, FormulaRange, drive_kind, kind_of, rule_of
from palaestra.envs.generation.generator import SceneRange
from palaestra.envs.generation.styles import LEAST_ROOMS, STYLES, style_of
from palaestra.envs.tasksets import TaskRange, TaskSetEnv
from palaestra.envs.types import COLOURS, MAX_GOALS, Task
from palaestra.sim.errors import PalaestraError

MAX_WEIGHT = 10
_MAX_TEXT = 20_000  # characters; four configurations take a tenth of it
_LEAST = {"max_rooms": 2, "object_use": 0.3, "on_table": 0.3}  # below these, what needs them is hardly ever found
_NEEDS = {  # of goals and rules: what has to be that large
    "in_room": ("max_rooms",),
    "keep_out": ("max_rooms",),
    **dict.fromkeys(("either", "all", "exactly", "at_least", "hands_off"), ("object_use",)),
    "clear": ("on_table",),
    "keep_on": ("object_use", "on_table"),
}


class ConfigError(PalaestraError):
    """A configuration that is outside the schema, or that could not generate."""


def _refuse(what: str, got: Any, expected: str, fix: str) -> NoReturn:
    raise ConfigError(f"{what}: got {json.dumps(got, default=repr)[:200]}, expected {expected}. Fix: {fix}")


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """Which tasks to draw. What a set does not have stays as in its own configuration, `Space.original`."""

    min_rooms: int
    max_rooms: int
    on_table: float  # the share of objects that start on a table
    object_use: float  # the probability that an object slot (but the first) is used
    cube_colours: tuple[str, ...]
    ball_colours: tuple[str, ...]
    min_goals: int
    max_goals: int
    goals: Mapping[str, int]  # weights of kinds of goals; where the robot is to be, a weight for every thing of that kind
    rules: Mapping[str, int]  # weights of rules
    styles: Mapping[str, int]  # weights of styles of layout
    clutter: Mapping[str, int]  # weights of how many objects no goal needs


# --- what can be told ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Number:
    """A number within limits, both included."""

    doc: str
    low: float
    high: float
    whole: bool = True

    @property
    def limits(self) -> str:
        return f"{'a whole number' if self.whole else 'a number'} from {self.low} to {self.high}"

    def admits(self, got: Any) -> bool:
        return isinstance(got, int if self.whole else (int, float)) and not isinstance(got, bool) and self.low <= got <= self.high

    def schema(self) -> dict[str, Any]:
        return {"type": "integer" if self.whole else "number"}


@dataclass(frozen=True)
class Names:
    """Some of these names."""

    doc: str
    names: tuple[str, ...]
    least: int

    @property
    def limits(self) -> str:
        return f"a list of {self.least} or more, none twice, of {', '.join(self.names)}"

    def admits(self, got: Any) -> bool:
        if not isinstance(got, list) or not all(isinstance(name, str) and name in self.names for name in got):
            return False
        return self.least <= len(got) == len(set(got))

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "string", "enum": list(self.names)}}


@dataclass(frozen=True)
class Weights:
    """How often each of these names is drawn, relative to the others."""

    doc: str
    names: tuple[str, ...]

    @property
    def limits(self) -> str:
        return f"an object with a whole number from 0 to {MAX_WEIGHT}, not all of them 0, for each of {', '.join(self.names)}"

    def admits(self, got: Any) -> bool:
        if not isinstance(got, dict) or set(got) != set(self.names):
            return False
        return all(type(weight) is int and 0 <= weight <= MAX_WEIGHT for weight in got.values()) and any(got.values())

    def schema(self) -> dict[str, Any]:
        return closed({name: {"type": "integer"} for name in self.names})


Knob = Number | Names | Weights


def closed(properties: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object with these properties, all of them and no other."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


# --- the space of a set -------------------------------------------------------------------------------------------


class Space:
    """What can be told to the generator of one split of a task set. It makes no array, so it can be made while tracing."""

    def __init__(self, env: TaskSetEnv):
        spec, ranges = env.world.spec, env.ranges
        if env.kind not in ("literals", "formulas", "drive"):
            got = f"{env.name!r}, of kind {env.kind!r}"
            raise PalaestraError(
                f"generator configuration: got {got}; expected a set of kind literals, formulas or drive. Fix: another set"
            )
        self.spec, self.name = spec, env.name
        self._formulas, self._drive = env.formulas, env.drive
        cubes, balls, *_ = (tuple(c for c, held in zip(COLOURS, row, strict=True) if held) for row in np.asarray(ranges.colours))
        self._others = np.asarray(ranges.colours)[2:].tolist()  # of crates
        # Of a colour there are two objects of a kind, a small one and a large one.
        knobs: dict[str, Knob] = {
            "min_rooms": Number("the fewest rooms of a house", 1, spec.rooms),
            "max_rooms": Number("the most rooms of a house, min_rooms or more", 1, spec.rooms),
            "on_table": Number("the share of the objects that start on a table", 0, 1, whole=False),
            "object_use": Number("how probably there is another object beside the first, for each", 0, 1, whole=False),
            "cube_colours": Names("the colours of cubes", cubes, -(-spec.cubes // 2)),
            "ball_colours": Names("the colours of balls", balls, -(-spec.balls // 2)),
        }
        without = {
            "on_table": not spec.tables,
            "object_use": spec.objects < 2 or ranges.clutter is not None,
            "cube_colours": not spec.cubes,
            "ball_colours": not spec.balls,
        }
        goals: dict[str, int] = {}
        if env.drive is not None:
            goals = {kind: 1 for number, kind in enumerate(DRIVES) if (drive_kind(spec)[1:] == number).any()}
            knobs["goals"] = Weights("kinds of goals, a weight for every thing of the kind", tuple(goals))
        elif env.formulas is not None:
            goals = dict.fromkeys(map(_key, KINDS), 1)
            knobs["goals"] = Weights("kinds of goals", tuple(goals))
            knobs["rules"] = Weights("what a goal comes with that must always hold", tuple(map(_key, RULES)))
        else:
            most = min(MAX_GOALS, spec.objects + 1)  # each of the objects somewhere, and something about the robot
            knobs["min_goals"] = Number("the fewest things that a goal asks for", 1, most)
            knobs["max_goals"] = Number("the most things that a goal asks for, min_goals or more", 1, most)
        styles, clutter = _present(ranges.styles, STYLES), _present(ranges.clutter, range(spec.objects))
        knobs |= {"styles": Weights("styles of layout", tuple(styles))} if styles else {}
        knobs |= {"clutter": Weights("how many objects there are that no goal needs", tuple(clutter))} if clutter else {}
        self.knobs = {name: knob for name, knob in knobs.items() if not without.get(name)}
        self.original = GeneratorConfig(
            min_rooms=int(ranges.min_rooms),
            max_rooms=int(ranges.max_rooms),
            on_table=round(float(ranges.on_table), 6),
            object_use=round(float(ranges.use), 6),
            cube_colours=cubes,
            ball_colours=balls,
            min_goals=int(env.min_goals),
            max_goals=int(env.max_goals),
            goals=goals,
            rules=dict(zip(map(_key, RULES), (3, 1, 1, 1), strict=True)) if env.formulas is not None else {},
            styles=styles,
            clutter=clutter,
        )

    # --- JSON

    def as_dict(self, config: GeneratorConfig) -> dict[str, Any]:
        """What JSON says of it."""
        return {name: list(x) if isinstance(x := getattr(config, name), tuple) else x for name in self.knobs}

    def schema(self) -> dict[str, Any]:
        """Of one configuration, in the subset that all servers support. They ignore limits: those are in `words`, and checked here."""
        return closed({name: knob.schema() | {"description": f"{knob.doc}: {knob.limits}"} for name, knob in self.knobs.items()})

    def words(self) -> str:
        """Every property with its limits, and what goes with what."""
        lines = [f"{name}: {knob.doc}; {knob.limits}" for name, knob in self.knobs.items()]
        for name, needs in _NEEDS.items():
            if any(name in knob.names for knob in self.knobs.values() if isinstance(knob, Weights)):
                lines += [f"{name} above 0 takes {need} of {_LEAST[need]} or more" for need in needs if need in self.knobs]
        if {"min_goals", "object_use"} <= set(self.knobs):
            lines += [f"min_goals {n} takes object_use of {self._use(n)} or more" for n in range(3, self._most_goals + 1)]
        lines += [f"style {name} above 0 takes min_rooms of {LEAST_ROOMS[name]} or more" for name in self.original.styles]
        lines += [f"clutter {n} above 0 takes max_goals of {self.spec.objects - int(n)} or less" for n in self.original.clutter]
        return "\n".join(f"- {line}" for line in lines)

    def load(self, path: Path) -> GeneratorConfig:
        """The configuration in a file. Raises ConfigError."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read ({error}), expected a file with one JSON object. Fix: give another") from None
        return self.check(parse(text, str(path)), str(path))

    def check(self, got: Any, where: str = "the configuration") -> GeneratorConfig:
        """The configuration of a JSON value. Raises ConfigError (what, got, expected, the fix) where it is outside the schema, or could
        not generate."""
        if not isinstance(got, dict) or set(got) != set(self.knobs):
            odd = sorted(map(str, set(got) ^ set(self.knobs))) if isinstance(got, dict) else got
            _refuse(where, odd, f"an object with {', '.join(self.knobs)}", "give all of these properties and no other")
        for name, knob in self.knobs.items():
            if not knob.admits(got[name]):
                _refuse(f"{where}, {name}", got[name], f"{knob.limits} ({self.name})", "stay within these limits")
        told: dict[str, Any] = {name: tuple(x) if isinstance(x, list) else x for name, x in got.items()}
        config = replace(self.original, **told)
        self._check_together(config, where)
        return config

    def _check_together(self, config: GeneratorConfig, where: str) -> None:
        """Refuse what is within the limits one by one, and could not generate all the same."""
        for low, high in (("min_rooms", "max_rooms"), ("min_goals", "max_goals")):
            if getattr(config, low) > getattr(config, high):
                _refuse(f"{where}, {low}", getattr(config, low), f"at most {high}, {getattr(config, high)}", f"lower {low}")
        for name, weight in {**config.goals, **config.rules}.items():
            for need in _NEEDS.get(name, ()):
                if weight and getattr(config, need) < _LEAST[need]:
                    _refuse(f"{where}, {name}", weight, f"0 with {need} {getattr(config, need)}", f"{need} of {_LEAST[need]} or more")
        for style, weight in config.styles.items():
            if weight and config.min_rooms < LEAST_ROOMS[style]:
                expected = f"0 with min_rooms {config.min_rooms}"
                _refuse(f"{where}, style {style}", weight, expected, f"min_rooms of {LEAST_ROOMS[style]} or more")
        left = self.spec.objects - config.max_goals
        for count, weight in config.clutter.items():
            if weight and int(count) > left:
                _refuse(
                    f"{where}, clutter {count}",
                    weight,
                    f"0 with max_goals {config.max_goals}",
                    f"clutter of {left} at most, or fewer goals",
                )
        if "min_goals" in self.knobs and config.object_use < self._use(config.min_goals):
            expected = f"{self._use(config.min_goals)} or more for min_goals {config.min_goals}, so that there are objects enough"
            _refuse(f"{where}, object_use", config.object_use, expected, "raise object_use, or lower min_goals")
        if self._formulas is not None and not self._weight(config).any():
            held = ", ".join(f"{KINDS[kind]} with {RULES[rule]}" for kind, rule in np.argwhere(np.asarray(self._formulas.weight) == 0))
            _refuse(f"{where}, goals and rules", [dict(config.goals), dict(config.rules)], f"more than {held}", "weigh others too")

    def _use(self, goals: int) -> float:
        """The least object_use with so many goals: on average as many objects as goals that are not about the robot."""
        return max(0.0, round((goals - 2) / max(self.spec.objects - 1, 1), 2))

    # --- ranges and tasks

    def _weight(self, config: GeneratorConfig) -> np.ndarray:
        """[kinds, rules], without what this split holds out."""
        assert self._formulas is not None
        outer = np.outer([config.goals[_key(k)] for k in KINDS], [config.rules[_key(r)] for r in RULES])
        return np.where(np.asarray(self._formulas.weight) > 0, outer, 0).astype(np.float32)

    def ranges(self, config: GeneratorConfig) -> TaskRange:
        """The same as arrays: what `TaskSetEnv.within` takes."""
        colours = [[colour in some for colour in COLOURS] for some in (config.cube_colours, config.ball_colours)] + self._others
        return TaskRange(
            scene=SceneRange(
                min_rooms=jnp.asarray(config.min_rooms, jnp.int32),
                max_rooms=jnp.asarray(config.max_rooms, jnp.int32),
                on_table=jnp.asarray(config.on_table, jnp.float32),
                use=jnp.asarray(config.object_use, jnp.float32),
                colours=jnp.asarray(colours),
                styles=_weights(config.styles, STYLES),
                clutter=_weights(config.clutter, range(self.spec.objects)),
            ),
            min_goals=jnp.asarray(config.min_goals, jnp.int32),
            max_goals=jnp.asarray(config.max_goals, jnp.int32),
            formulas=None if self._formulas is None else FormulaRange(weight=jnp.asarray(self._weight(config))),
            drive=None if self._drive is None else jnp.asarray([config.goals.get(kind, 0) for kind in DRIVES], jnp.float32),
        )

    @cached_property
    def families(self) -> tuple[str, ...]:
        """Parts of a set's tasks whose success is told apart, `<property>: <value>`. A task is in several."""
        parts = [("rooms", range(1, self.spec.rooms + 1))]
        if "min_goals" in self.knobs:
            parts.append(("number of goals", range(1, self._most_goals + 1)))
        weights = [(name, knob.names) for name, knob in self.knobs.items() if isinstance(knob, Weights)]
        return tuple(f"{name}: {value}" for name, values in [*parts, *weights] for value in values)

    @property
    def _most_goals(self) -> int:
        knob = self.knobs["max_goals"]
        assert isinstance(knob, Number)
        return int(knob.high)

    def members(self, task: Task) -> jax.Array:
        """Of which families a task is [families] bool. On device."""
        parts = [num_rooms(task) == jnp.arange(1, self.spec.rooms + 1)]
        if "min_goals" in self.knobs:
            parts.append(num_terms(task) == jnp.arange(1, self._most_goals + 1))
        elif self._formulas is not None:
            parts += [kind_of(task.goal), rule_of(task.goal)]
        elif self._drive is not None:
            present = [number for number, kind in enumerate(DRIVES) if kind in self.original.goals]
            parts.append((task.goal.targets[0] & (drive_kind(self.spec) == np.asarray(present)[:, None])).any(-1))
        if "styles" in self.knobs:
            parts.append(style_of(task.scene) == np.asarray([STYLES.index(name) for name in self.original.styles]))
        if "clutter" in self.knobs:
            parts.append(num_spare(task) == np.asarray([int(count) for count in self.original.clutter]))
        return jnp.concatenate(parts)


def _present(weight: jax.Array | None, names: Iterable[str | int]) -> dict[str, int]:
    """Of names that have a weight, these weights; of no weights, nothing."""
    return {} if weight is None else {str(name): int(w) for name, w in zip(names, np.asarray(weight), strict=True) if w}


def _weights(given: Mapping[str, int], names: Iterable[str | int]) -> jax.Array | None:
    """The same as an array."""
    return jnp.asarray([given.get(str(name), 0) for name in names], jnp.float32) if given else None


def _key(name: str) -> str:
    """A name as JSON has it."""
    return name.replace(" ", "_")


def parse(text: str, where: str) -> Any:
    """The value of a JSON text that is no longer than a configuration can be."""
    if len(text) > _MAX_TEXT:
        _refuse(where, f"{len(text)} characters", f"at most {_MAX_TEXT}", "answer with the JSON object alone")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: got {text[:80]!r}, expected one JSON object ({error}). Fix: answer with the object alone") from None
