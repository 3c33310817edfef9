"""The Kubernetes API as this operator uses it: kinds and a thin client."""
