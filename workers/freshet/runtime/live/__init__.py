"""FeatureSets that change while a service runs: one ConfigMap, watched over the API and mounted as a file."""
