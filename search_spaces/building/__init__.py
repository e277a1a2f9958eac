"""What builders of benchmarks share: a journal that survives kills, worker processes, a lock, files written whole."""

from search_spaces.building.journal import LineJournal
from search_spaces.building.session import locked, one_thread, replace
from search_spaces.building.workers import finished

__all__ = ["LineJournal", "finished", "locked", "one_thread", "replace"]
