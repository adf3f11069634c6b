"""Large engines in environments of their own, with tiny random models of their real forms: `make test-engines`."""
