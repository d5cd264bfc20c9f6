"""`palaestra bench words`: thirty instructions as people write them, outside the tasks' own grammar, and what is made of each.

The houses are those of the set `demo`. What each instruction means is said beside it, in the grammar's own words; of one that means
nothing, nothing should be made.
"""

from dataclasses import replace
from typing import Any

import jax
import numpy as np

from palaestra.bench.protocol import Settings
from palaestra.envs.goals import Formula, describe
from palaestra.envs.predicates import table_at_start
from palaestra.envs.tasksets import TaskSetEnv
from palaestra.envs.words import parser
from palaestra.envs.words.references import Things
from palaestra.policies.evaluate import rate
from palaestra.sim.errors import PalaestraError
from palaestra.skills.plan import PlanError
from palaestra.skills.planners.embedded.planner import EmbeddedPlanner
from palaestra.skills.planning import problem

# The house's number, what somebody writes, and what is meant.
INSTRUCTIONS: tuple[tuple[int, str, str], ...] = (
    (0, "Could you toss the ball in the trash over in the study?", "Put the purple ball in the blue bin."),
    (0, "I'd love to have both workshop cubes on the yellow table.", "Put the orange cube and the yellow cube on the yellow table."),
    (0, "The green cube belongs in the pantry bin.", "Put the green cube in the purple bin."),
    (0, "Grab me the yellow one, and wait for me in the bedroom.", "Hold the yellow cube, and go into the bedroom."),
    (0, "Nothing should be left lying on the green table.", "Clear the green table."),
    (0, "Just go and check the study, nothing else.", "Go into the study."),
    (1, "All cubes go in the purple bin, please!", "Put all the cubes in the purple bin."),
    (1, "Tidy up: red cube in the green bin, green cube in the green bin too.", "Put the red cube and the green cube in the green bin."),
    (1, "Would you mind carrying the yellow cube over to the bedroom table?", "Put the yellow cube on the yellow table."),
    (1, "Don't touch the red cube, but get the green one onto the red table.",
     "Put the green cube on the red table. Do not touch the red cube."),
    (1, "Put any one cube on the red table, I don't care which.", "Put any cube on the red table."),
    (1, "Once you've dropped the green cube in a bin, come back to the yellow table.",
     "First put the green cube in any bin, then go to the yellow table."),
    (2, "Take the stuff on the green table and throw it into the red bin.", "Put the yellow cube in the red bin."),
    (2, "The ball goes to the kitchen, into the bin that's blue.", "Put the orange ball in the blue bin."),
    (2, "Make it so that two of the cubes are inside the blue bin.", "Put at least two of the cubes in the blue bin."),
    (2, "Before anything else, park yourself in the bedroom.", "Go into the bedroom."),
    (2, "Get rid of the purple cube: red bin or blue bin, your choice.", "Put the purple cube in any bin."),
    (2, "Keep your hands off the ball and bring the red cube to the workshop.",
     "Put the red cube on the purple table. Do not touch the orange ball."),
    (4, "Bring the big yellow cube to the table where the green cube is.", "Put the large yellow cube on the yellow table."),
    (4, "Everything yellow that you can carry goes into the orange bin.", "Put all the yellow cubes in the orange bin."),
    (4, "First the ball into the kitchen bin, after that the little yellow cube onto the purple table.",
     "First put the orange ball in the orange bin, then put the small yellow cube on the purple table."),
    (4, "Carry the green cube with you to the kitchen.", "Hold the green cube, and go into the kitchen."),
    (4, "I dropped the ball somewhere... oh never mind, go to the pantry.", "Go into the pantry."),
    (4, "Lovely weather today.", ""),
    (5, "The ball's place is the purple table.", "Put the green ball on the purple table."),
    (5, "Head over to the lounge and stay by the orange bin.", "Go into the lounge, and go to the orange bin."),
    (5, "Lift the cube, then walk it over to the kitchen.", "First hold the purple cube, then go into the kitchen."),
    (5, "Chuck the cube into a bin, any bin will do.", "Put the purple cube in any bin."),
    (5, "Never ever enter the study; put the ball on the red table instead.",
     "Put the green ball on the red table. Never enter the study."),
    (5, "When the cube is on the purple table, go and stand next to the green bin.",
     "First put the purple cube on the purple table, then go to the green bin."),
)  # fmt: skip


def bench(settings: Settings) -> dict[str, Any]:
    """The share that the planner `embedded` understands as it is meant, and that of the grammar's parser."""
    del settings
    env = TaskSetEnv("demo", "test")
    planner = EmbeddedPlanner(env.world.spec)
    table = jax.jit(lambda scene: table_at_start(env.world, scene))
    make = jax.jit(env.task)
    rows, right, read = [], 0, 0
    for i, (house, text, meant) in enumerate(INSTRUCTIONS):
        task = jax.device_get(make(house))
        things = Things.of(env.world.spec, task.scene)
        asked = replace(problem(env, task, i, np.asarray(table(task.scene))), instruction=text, goal=None)
        wanted = parser.read(meant, things) if meant else Formula(())
        ((understood, probability),) = planner.readings_of([asked])
        right += understood == wanted
        try:
            parsed: Formula | None = parser.read(text, things)
        except PalaestraError:
            parsed = None
        read += (parsed or Formula(())) == wanted
        try:
            plan = str(planner.plan(asked))
        except PlanError as error:
            plan = f"[{error.failure}]"
        rows.append(
            {
                "instruction": text,
                "understood": "; ".join(describe(understood)) or "nothing",
                "as_meant": understood == wanted,
                "probability": round(probability, 3),
                "plan": plan,
                "parser": "refuses" if parsed is None else "as meant" if parsed == wanted else "; ".join(describe(parsed)),
            }
        )
    return {**rate(right, len(rows)), "parser": read / len(rows), "instructions": rows}
