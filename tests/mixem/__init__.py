"""Tests of mixem."""
