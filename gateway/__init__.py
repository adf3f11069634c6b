"""The REST facade: parse, call one RPC, answer. Holds no state, knows no Redis, no object store, no engine."""
