"""Train the small chat model that servers are tried with, and write it as GGUF: python scripts/train_chat_model.py --help"""

import json
from pathlib import Path

import tyro

from palaestra.sim.memory import keep_freed_memory
from palaestra.skills.planners.chat.training import Lesson, train


def main(lesson: Lesson, file: Path = Path("runs/chat/chat.gguf")) -> None:
    keep_freed_memory()
    print(json.dumps(train(file, lesson, lambda text: print(text, flush=True))))


if __name__ == "__main__":
    tyro.cli(main)
