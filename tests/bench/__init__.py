"""Tests of what judges: a bench that cannot fail proves nothing."""
