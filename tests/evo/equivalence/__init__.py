"""Tests of evo.equivalence."""
