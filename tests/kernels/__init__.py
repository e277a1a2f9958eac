"""Tests of the kernels; they need numpy, torch and pytest alone (hypothesis where it is there)."""
