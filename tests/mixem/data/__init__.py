"""Tests of mixem.data."""
