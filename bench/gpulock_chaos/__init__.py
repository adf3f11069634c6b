"""Holders, replicas and Redis under attack; the holders' own journals are the judge."""
