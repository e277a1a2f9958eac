"""Where the shipped benchmark lies, and what its files are called."""

from pathlib import Path

NAME = "nb201_fashion"
"""Of the benchmark, and the beginning of its files' names."""
DATA = Path(__file__).resolve().parent / "data"
"""The folder that ships."""
