"""A page for every skill: what its card says, in words and plots, and films of where it fails. `palaestra skills --pages`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs.display.film import Film
from palaestra.envs.display.render import TopDown
from palaestra.envs.names import Entity, entities
from palaestra.envs.types import row
from palaestra.policies import plots
from palaestra.policies.evaluate import evaluate, evaluation_keys
from palaestra.sim.errors import PalaestraError
from palaestra.skills.library import SKILLS
from palaestra.skills.operators import prompt_text
from palaestra.skills.record import Skill
from palaestra.skills.shipped import LearnedSkill, card, handover_card, learned
from palaestra.skills.training import SkillEnv

_BLUE, _GREY, _RED = "#2b6cb0", "#a0aec0", "#c53030"
_LOOK = 500  # episodes among which failures are looked for
_FPS = 20


def write_pages(folder: Path, films: int = 0) -> list[Path]:
    """A page in Markdown and a picture for every skill that has a card, and `films` failures of each; the pages' paths."""
    if films < 0:
        raise PalaestraError(f"films: got {films}, expected 0 or more")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PalaestraError(f"{folder}: cannot write ({error.strerror}). Fix: another folder") from error
    pages = []
    for skill in SKILLS.values():
        about = card(skill)
        if about:
            draw_card(about, folder / f"{skill.name}.png")
            filmed = list(film_failures(learned(skill), folder, about["measured_with"], films)) if films else []
            page = folder / f"{skill.name}.md"
            page.write_text(_page(skill, about, filmed))
            pages.append(page)
    return pages


def _page(skill: Skill, about: dict[str, Any], films: list[Path]) -> str:
    low, high = about["interval"]
    training = about.get("training", {})
    kinds = [Entity(0, kind, kind) for param in skill.params for kind in param.kinds]
    contract = "\n".join(f"    {line}" for line in prompt_text([skill], kinds).partition("Rules of the world")[0].strip().splitlines())
    trained = [f"`{training['command']}`"] if training.get("command") else []
    trained += [f"{training['steps']:,} steps"] if training.get("steps") else []
    trained += [f"{training['minutes']} minutes"] if training.get("minutes") else []
    parts = [
        f"# {skill.name}",
        contract,
        f"**{about['value']:.3f}** ({low:.3f} to {high:.3f}) of {about['n']:,} starts over its whole precondition, with seeds that "
        f"training never saw: `{about['measured_with']}`. Its gate is {about['gate']}. Where it succeeds it takes "
        f"{(about['median_steps'] or 0) / _FPS:.1f} s (median).",
        f"Failures: {', '.join(f'{n} {reason}' for reason, n in about['failures'].items())}.",
        f"![Success by context, and while it was learned]({skill.name}.png)",
        f"Trained by {', '.join(trained)}; weights {about['weights']}." if trained else f"Weights {about['weights']}.",
        *_after_others(skill),
        *([f"Failures, filmed: {', '.join(f'[{path.stem}]({path.name})' for path in films)}."] if films else []),
    ]
    return "\n\n".join(parts) + "\n"


def _after_others(skill: Skill) -> list[str]:
    """How it does where other skills end, as a table."""
    measured = handover_card()
    rows = [
        f"| `{pair.split(' -> ')[0]}` | {rate['value']:.3f} ({rate['interval'][0]:.3f} to {rate['interval'][1]:.3f}) | {rate['n']} |"
        for kind in ("pairs", "rarer")
        for pair, rate in measured.get(kind, {}).items()
        if pair.endswith(f" -> {skill.name}")
    ]
    return ["Right after other skills:", "\n".join(["| after | success | n |", "|---|---|---|", *rows])] if rows else []


def draw_card(about: dict[str, Any], path: Path) -> None:
    """Success by context with 95% intervals, a panel each, and the learning curve where the card has one."""
    contexts, curve = about["context"], about.get("training", {}).get("curve", [])
    count = len(contexts) + bool(curve)
    columns = min(count, 3)
    rows = -(-count // columns)
    figure, grid = plots.axes("skills --pages", rows, columns, 3.6 * columns, 2.5 * rows)
    lowest = min((group[1] for groups in contexts.values() for group in groups.values()), default=0.8)
    for axis, (name, groups) in zip(grid.flat, contexts.items(), strict=False):
        rate, low, high = (np.array([group[i] for group in groups.values()]) for i in range(3))
        axis.axhline(about["value"], color=_GREY, linewidth=1, zorder=0)
        axis.errorbar(range(len(rate)), rate, [rate - low, high - rate], fmt="o", color=_BLUE, markersize=4, capsize=2, linewidth=1.2)
        axis.set_xticks(range(len(rate)), [name.replace("..", " to ") for name in groups], fontsize=8)
        axis.set_xlim(-0.5, len(rate) - 0.5)
        axis.set_ylim(max(0.0, np.floor(20 * lowest - 0.5) / 20), 1.005)
        axis.set_title(_title(name))
    if curve:
        axis = grid.flat[len(contexts)]
        steps, success = np.array(curve).T
        axis.plot(steps / 1e6, success, color=_BLUE)
        axis.set_ylim(0, 1.005)
        axis.set_xlabel("million steps")
        axis.set_title("while it learned")
    for axis in grid.flat[count:]:
        axis.set_visible(False)
    plots.save(figure, path)


def _title(name: str) -> str:
    words, _, unit = name.rpartition("_")
    return f"{words.replace('_', ' ')} ({unit})" if unit in ("m", "rad") else name.replace("_", " ")


def film_failures(loaded: LearnedSkill, folder: Path, measured_with: str, count: int, *, episodes: int = _LOOK) -> Iterator[Path]:
    """Films of the first failures among the episodes of the card, from above, by the program that measured them: they fail again."""
    seed = int(measured_with.rpartition("--seed")[2])
    env = SkillEnv(loaded.skill)
    result = evaluate(env, loaded.network, loaded.policy, episodes, seed=seed)
    chosen = np.flatnonzero(~result.success)[:count]
    if not len(chosen):
        return
    state, timestep = jax.jit(jax.vmap(env.begin))(evaluation_keys(seed, episodes))
    step = jax.jit(lambda state, obs: jax.vmap(env.step)(state, loaded.act(obs)))
    at = jnp.asarray(chosen)
    seen = [jax.device_get(jax.tree.map(lambda x: x[at], state))]
    for _ in range(int(result.steps[chosen].max())):
        state, timestep = step(state, timestep.observation)
        seen.append(jax.device_get(jax.tree.map(lambda x: x[at], state)))
    for k, number in enumerate(chosen):
        yield _film(env, [row(states, k) for states in seen[: int(result.steps[number]) + 1]], folder, int(number))


def _film(env: SkillEnv, states: list[Any], folder: Path, number: int) -> Path:
    path = folder / f"{env.skill.name}-failure-{number}.mp4"
    names = {thing.index: thing.name for thing in entities(env.world.spec, states[0].scene)}
    args = ", ".join(names[int(states[0].args[i])] for i in range(len(env.skill.params)))
    call, top_down = f"{env.skill.name}({args})", TopDown(env.world)
    with Film(path, fps=_FPS) as film:
        for i, state in enumerate(states):
            lines = (f"start {number}", f"{i / _FPS:.1f} s")
            film.add(top_down.frame(state.scene, state.physics, title=call, lines=lines, plan=(call,), current=0))
    return path
