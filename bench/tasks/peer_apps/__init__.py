"""What runs in the peers' own environment (.venv-bench): the same REST surface over Celery, SAQ and taskiq."""
