"""What to do next, from what was seen; pure: no I/O, no clock, the same answer to the same question."""

from freshet_operator.plan.experiment import experiment_plan
from freshet_operator.plan.featureset import IDLE_SECONDS, plan
from freshet_operator.plan.served import needed_revision, served_entries, served_part

__all__ = ["IDLE_SECONDS", "experiment_plan", "needed_revision", "plan", "served_entries", "served_part"]
