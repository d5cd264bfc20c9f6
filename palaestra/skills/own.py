"""Skills of one's own: a file with a record becomes part of the library, for all that this process does from then on.

The file defines `SKILL`, a `Skill`, and where it takes predicates of its own `PREDICATES`, `Predicate`s by name. Weights and card lie
beside it. What makes no sense is refused with the file's name and the reason, and then nothing has changed.
"""

import importlib.util
import sys
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from palaestra.envs.predicates import geometry
from palaestra.envs.types import num_entities
from palaestra.envs.vocabulary import OWN, Predicate
from palaestra.skills.checks import KINDS, RecordError, checked
from palaestra.skills.library import SKILLS
from palaestra.skills.operators import DOMAIN
from palaestra.skills.record import ROBOT, Skill, view
from palaestra.skills.training import SkillEnv

_LOADED: dict[Path, tuple[str, tuple[str, ...]]] = {}  # the skill and the predicates that are registered, by the file that they are from
_REGISTRIES: tuple[dict[Any, Any], ...] = (SKILLS, DOMAIN, OWN, _LOADED)


def load(path: Path | str) -> Skill:
    """The skill of a file, and from now on one of the library. A file that was changed can be loaded again: it replaces what it gave.

    Raises RecordError where the file makes no sense.
    """
    path = Path(path)
    before = [dict(registry) for registry in _REGISTRIES]
    forget(path)
    try:
        found = _executed(path)
        if not isinstance(found.get("SKILL"), Skill):
            raise RecordError(f"got {_kind(found, 'SKILL')}, expected a record. Fix: SKILL = Skill(...)")
        return _registered(replace(found["SKILL"], file=path), found.get("PREDICATES", {}))
    except Exception as error:
        for registry, old in zip(_REGISTRIES, before, strict=True):
            registry.clear()
            registry.update(old)
        kind = "" if isinstance(error, RecordError) else f"{type(error).__name__}: "
        raise RecordError(f"{path}: {kind}{error}") from error


def forget(path: Path | str) -> None:
    """The library without what a file gave it."""
    skill, predicates = _LOADED.pop(Path(path).resolve(), ("", ()))
    SKILLS.pop(skill, None)
    for name in predicates:
        del DOMAIN[name], OWN[name]


def _executed(path: Path) -> dict[str, Any]:
    """The names that a file defines. Raises RecordError, with the line, where it does not run."""
    if not path.is_file():
        raise RecordError("no such file; expected a Python file that defines SKILL")
    spec = importlib.util.spec_from_file_location(f"palaestra_own_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise RecordError("not a Python file, expected one whose name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise RecordError(f"line {error.lineno}: {error.msg}: {(error.text or '').strip()}") from error
    except Exception as error:
        raise RecordError(f"{_line(error, path)}{type(error).__name__}: {error}") from error
    return vars(module)


def _line(error: Exception, path: Path) -> str:
    """Where in the file an error came about: "line 12: ", or nothing."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"line {lines[-1]}: " if lines else ""


def _kind(found: Mapping[str, Any], name: str) -> str:
    return f"{name} of type {type(found[name]).__name__}" if name in found else f"no {name} in it"


def _registered(skill: Skill, predicates: Mapping[str, Predicate]) -> Skill:
    """The skill, once all is well with it and with its predicates."""
    taken = next((other.file or "the package" for name, other in SKILLS.items() if name == skill.name), None)
    if taken:
        raise RecordError(f"skill {skill.name!r}: got a name that a skill of {taken} has, expected another. Fix: name=...")
    if not isinstance(predicates, Mapping):
        raise RecordError(f"PREDICATES: got {type(predicates).__name__}, expected predicates by name, {{name: Predicate(...)}}")
    for name, predicate in predicates.items():
        if fault := _fault(name, predicate, {*DOMAIN, *predicates}):
            raise RecordError(f"predicate {name!r}: {fault}")
    SKILLS[skill.name] = skill
    DOMAIN.update(predicates)
    OWN.update(predicates)
    _LOADED[(skill.file or Path()).resolve()] = skill.name, tuple(predicates)
    _check_functions(checked(skill), predicates)
    return skill


def _fault(name: str, predicate: Predicate, known: Iterable[str]) -> str:
    """What is wrong with a predicate; nothing where all is well."""
    if not isinstance(predicate, Predicate):
        return f"got {type(predicate).__name__}, expected Predicate(...)"
    if name in DOMAIN:
        return f"got a name that is taken, expected another than: {', '.join(DOMAIN)}"
    if not name.isidentifier() or name != name.lower():
        return "got a name that is no word, expected small letters, digits and _, beginning with a letter"
    if predicate.holds is None:
        return "got no holds, expected a function that says when it is true: holds=..."
    for what, kinds in (("subjects", predicate.subjects), ("targets", predicate.targets)):
        if not kinds or not {*kinds} <= {ROBOT, *KINDS}:
            return f"{what}: got {kinds}, expected some of: {', '.join(sorted({ROBOT, *KINDS}))}"
    for what, patterns in (("ends", predicate.ends), ("ended_by", predicate.ended_by)):
        for pattern in patterns:
            if len(pattern) != 3 or pattern[0] not in known or not {*pattern[1:]} <= {"s", "t", "_"}:
                return f"{what}: got {pattern}, expected (a predicate, s or t or _, s or t or _); predicates: {', '.join(sorted(known))}"
    return ""


def _check_functions(skill: Skill, predicates: Mapping[str, Predicate]) -> None:
    """Trace all functions in the world that it is trained in. Raises RecordError where one fails, or gives something of another shape."""
    env = SkillEnv(skill)
    e = num_entities(env.world.spec)

    def trace(key: jax.Array) -> None:
        begun = skill.start(key, env.world, jnp.zeros(()))
        physics = env.engine.init(begun.scene.layout)
        geo = geometry(env.world, begun.scene, physics, begun.ctrl)
        for name, predicate in predicates.items():
            if predicate.holds:
                _expect(f"holds of {name!r}", predicate.holds(env.world, begun.scene, physics, geo), (e, e), bool)
        seen = view(env.world, begun.scene, physics, begun.ctrl, begun.args)
        _expect("observe", skill.observe(env.world, seen), (skill.observation_size,), jnp.float32)
        _expect("reward", skill.reward(env.world, seen), (), jnp.float32)
        _expect("finished", skill.finished(env.world, seen), (), bool)
        _expect("failed", skill.failed(env.world, seen), (), bool)

    try:
        jax.eval_shape(trace, jax.random.key(0))
    except RecordError:
        raise
    except Exception as error:
        raise RecordError(f"{_line(error, skill.file or Path())}{type(error).__name__}: {error}") from error


def _expect(what: str, got: jax.Array, shape: tuple[int, ...], dtype: Any) -> None:
    got = jnp.asarray(got)
    if (got.shape, got.dtype) != (shape, dtype):
        raise RecordError(f"{what}: got {got.dtype}{list(got.shape)}, expected {jnp.dtype(dtype)}{list(shape)}")
