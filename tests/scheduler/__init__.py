"""Tests of the scheduler, over real gRPC and a real Redis."""
