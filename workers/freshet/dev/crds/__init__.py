"""The CustomResourceDefinitions, made from the manifests' models so that cluster and files have one contract."""
