"""From a search's leaders to a result: selection, tuning, simplification."""
