"""What every YiVideo process stands on: settings, logs, gRPC, errors, drain, metrics."""
