"""`palaestra bench startup`: what a user waits for. A fresh process imports, makes, resets and steps once."""

import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

from palaestra.bench.protocol import Settings, spread

_CODE = """
import time
clock = time.perf_counter()
import gymnasium, palaestra
imported = time.perf_counter() - clock
env = gymnasium.make("Palaestra/Rearrange-v0")
env.reset(seed=0)
env.step(env.action_space.sample())
print(imported)
"""


def bench(settings: Settings) -> dict[str, Any]:
    """Seconds with an empty compilation cache, and with one that an earlier process has filled (the value)."""
    cold, warm, imports = [], [], []
    for _ in range(min(settings.repetitions, 3)):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(_process(cache)[0])
            for _ in range(2):
                seconds, imported = _process(cache)
                warm.append(seconds)
                imports.append(imported)
    return {
        "value": float(np.median(warm)),
        "warm_spread": spread(np.array(warm)),
        "cold": float(np.median(cold)),
        "cold_spread": spread(np.array(cold)),
        "import_alone": float(np.median(imports)),
        "repetitions": len(cold),
    }


def _process(cache: str) -> tuple[float, float]:
    clock = time.perf_counter()
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache}
    done = subprocess.run([sys.executable, "-c", _CODE], env=environment, capture_output=True, text=True, check=True)
    return time.perf_counter() - clock, float(done.stdout.split()[-1])
