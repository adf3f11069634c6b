"""The HTTP kit: what any REST surface needs, without knowing one. No gRPC client, no contract, no product."""
