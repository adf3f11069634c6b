"""The benchmarks, each with its peer in the same run."""
