"""Tests, one folder for each room; `make test-fast`, `make test`, `make test-slow` run them in three tiers."""
