"""Tests of the gateway, over HTTP, against real gRPC servers."""
