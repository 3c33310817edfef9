"""The Kubernetes operator: observe → desired (pure) → plan (pure) → apply → status."""

__version__ = "0.1.0"
