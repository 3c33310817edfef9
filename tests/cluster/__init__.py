"""The operator and the CRDs against a real API server (KUBECONFIG): see conftest.py for what every test gets."""
