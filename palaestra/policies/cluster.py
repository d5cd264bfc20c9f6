"""Functions as tasks on a cluster's machines, which share a folder. A task whose worker dies starts again on another."""

from collections.abc import Callable, Mapping
from typing import Any

from palaestra.sim.errors import MissingExtraError, PalaestraError, UnknownNameError

CLUSTERS = ("ray",)


def run_tasks(
    cluster: str,
    function: Callable[..., Any],
    tasks: Mapping[str, tuple[Any, ...]],
    restarts: int,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """What the function said to the arguments of each task, by name, and why those failed that did.

    The cluster is the one of RAY_ADDRESS, or this machine with a worker a core. A task is tried again when its worker died, up to
    `restarts` times, not when it raised an error: that would come again.
    """
    if cluster not in CLUSTERS:
        raise UnknownNameError("cluster", cluster, CLUSTERS)
    try:
        import ray
    except ImportError:
        raise MissingExtraError("--cluster ray", "ray", "cluster") from None
    done, failed = dict[str, Any](), dict[str, str]()
    ours = not ray.is_initialized()
    if ours:
        ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        # A fresh process each: what one has compiled and allocated goes with it.
        remote = ray.remote(max_retries=restarts, max_calls=1)(function)
        running = {remote.remote(*arguments): name for name, arguments in tasks.items()}
        while running:
            (ready,), _ = ray.wait(list(running))
            name = running.pop(ready)
            try:
                done[name] = ray.get(ready)
                say(f"{name}: finished")
            except PalaestraError as error:  # Ray's error is also one of the class that the task raised
                failed[name] = str(error.__cause__ or error)
                say(f"{name}: {failed[name]}")
            except ray.exceptions.RayError as error:
                failed[name] = f"{error} (after {restarts + 1} tries)"
                say(f"{name}: {failed[name]}")
    finally:
        if ours:
            ray.shutdown()
    return done, failed
