"""What a valid FeatureSet asks for, as Kubernetes objects; pure."""

from freshet_operator.desired.featureset import desired
from freshet_operator.desired.topics import wanted_topics

__all__ = ["desired", "wanted_topics"]
