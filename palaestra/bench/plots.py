"""`palaestra bench all`: every benchmark after the other, a JSON file each, and the plots of `docs/performance.md`."""

import json
from pathlib import Path
from typing import Any

from palaestra.bench import protocol
from palaestra.policies import plots
from palaestra.sim.errors import PalaestraError

_BLUE, _GREY, _ORANGE = "#2b6cb0", "#a0aec0", "#dd6b20"
_COLOURS = (_BLUE, "#63b3ed", "#38a169", _ORANGE, "#805ad5")


def run_all(settings: protocol.Settings) -> dict[str, Any]:
    """The values by name; what cannot be run here is named with its reason. Results and plots go to `settings.folder`."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {}
    for name in protocol.BENCHES:
        if name == "learn":
            values[name] = "not run: it takes half an hour. Fix: palaestra bench learn"
            continue
        try:
            result = protocol.run(name, settings)
        except PalaestraError as error:
            values[name] = f"not run: {error}"
            continue
        (settings.folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        values[name] = result["value"]
    ran = [v for v in values.values() if not isinstance(v, str)]
    return {"name": "all", "value": len(ran), "values": values, "plots": [str(p) for p in draw(settings.folder, settings.folder)]}


def draw(results: Path, folder: Path) -> list[Path]:
    """The plots of the results in a folder."""
    read = {path.stem: json.loads(path.read_text()) for path in results.glob("*.json")}
    drawn = []
    for name, plot in (("scaling", _scaling), ("step", _step)):
        if name in read:
            path = folder / f"{name}.png"
            plot(read[name], path)
            drawn.append(path)
    return drawn


def _scaling(result: dict[str, Any], path: Path) -> None:
    """Steps/s against environments, threads, objects and rooms, side by side."""
    parts = [
        (k, title) for k, title in (("environments", "environments"), ("threads", "threads"), ("objects", "objects"), ("rooms", "rooms"))
    ]
    figure, ((*axes,),) = plots.axes("bench plots", 1, len(parts), 12, 2.9)
    for axis, (key, title) in zip(axes, parts, strict=True):
        points = sorted((int(n), v) for n, v in result[key].items())
        x = [n for n, _ in points]
        rate = [1e6 / v["microseconds"] / 1000 for _, v in points]
        low, high = ([1e6 / v["spread"][i] / 1000 for _, v in points] for i in (1, 0))
        axis.fill_between(x, low, high, color=_BLUE, alpha=0.15, linewidth=0)
        axis.plot(x, rate, color=_BLUE, marker="o", markersize=4)
        if key == "environments":
            axis.set_xscale("log", base=2)
        axis.set_xticks(x, [str(n) for n in x], rotation=45 if len(x) > 5 else 0)
        axis.set_ylim(0, 1.1 * max(high))
        axis.set_xlabel(title)
        axis.grid(axis="y", color=_GREY, alpha=0.3)
    axes[0].set_ylabel("1000 control steps/s")
    figure.suptitle(f"{result['engine']}, {result['machine']['processor']}; {result['num_envs']} environments where not varied", fontsize=9)
    plots.save(figure, path)


def _step(result: dict[str, Any], path: Path) -> None:
    """Where the time of a step goes: one bar, its parts labelled beneath."""
    figure, ((axis,),) = plots.axes("bench plots", 1, 1, 9, 1.9)
    left, total = 0.0, result["milliseconds_in_all"]
    for (name, value), colour in zip(result["milliseconds"].items(), _COLOURS, strict=False):
        width = max(value, 0.0)
        axis.barh(0, width, left=left, color=colour, label=f"{name}: {value:.2f} ms ({value / total:.1%})", height=0.6)
        left += width
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.set_xlim(0, left)
    axis.set_xlabel(f"milliseconds a control step of {result['num_envs']} environments ({total:.1f} in all)")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    plots.save(figure, path)
