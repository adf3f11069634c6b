"""A facade of another product, mounted beside /v1: what a new one needs, and all that it needs."""
