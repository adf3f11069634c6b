"""`make check-deploy` and its tests: the Kubernetes manifests, held to Kubernetes' schemas and to the processes that they start."""
