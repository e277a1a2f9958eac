"""Tables of benchmarks: `Table`, and loaders of CSV (`csv_layout.py`) and of NASLib's JSON (`naslib.py`)."""

from search_spaces.robot.tables.csv_layout import find, from_csv
from search_spaces.robot.tables.errors import TableError
from search_spaces.robot.tables.loading import BENCHMARKS, load
from search_spaces.robot.tables.naslib import from_naslib
from search_spaces.robot.tables.table import Table

__all__ = ["BENCHMARKS", "Table", "TableError", "find", "from_csv", "from_naslib", "load"]
