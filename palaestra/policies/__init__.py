"""Learners: networks, PPO, training runs, checkpoints, evaluation."""

from palaestra.policies.evaluate import evaluate as evaluate
from palaestra.policies.evaluate import wilson as wilson
from palaestra.policies.files import CheckpointError as CheckpointError
from palaestra.policies.files import load_policy as load_policy
from palaestra.policies.learner import LEARNERS as LEARNERS
from palaestra.policies.networks import ActorCritic as ActorCritic
from palaestra.policies.networks import Policy as Policy
from palaestra.policies.ppo import PPO as PPO
from palaestra.policies.ppo import Hyper as Hyper
from palaestra.policies.ppo import Learner as Learner
from palaestra.policies.recurrent import RecurrentPPO as RecurrentPPO
from palaestra.policies.runs import DivergedError as DivergedError
from palaestra.policies.runs import Run as Run
from palaestra.policies.runs import RunConfig as RunConfig
from palaestra.policies.sac import SAC as SAC
from palaestra.policies.settings import changed as changed
