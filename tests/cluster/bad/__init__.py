"""Manifests that a cluster refuses."""
