"""Real data that ship with the project: a subset of Fashion-MNIST, and English texts. `NOTICE.md` has the licences."""

from evo.errors import EvoError


class DataError(EvoError):
    """A data set is not where it should be, or not what it should be."""
