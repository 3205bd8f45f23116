"""Tests of mixem.scoring."""
