"""Rank correlations equal scipy's to 1e-12, with ties, constants, infinities and NaN; and their own stated rules."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from kernels import ranks
from kernels.errors import KernelError

stats = pytest.importorskip("scipy.stats")
pytest.importorskip("hypothesis")
from hypothesis import example, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra import numpy as arrays  # noqa: E402

VALUES = st.one_of(
    st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 0.5, 1.0, np.nextafter(1.0, 2.0), 1e300, 5e-324, np.inf]),
    st.integers(-3, 3).map(float),
    st.floats(allow_nan=False),
)


@st.composite
def tables(draw, least=3):
    """Scores (n, m) and targets (t, m); small alphabets, so that ties, joint ties and constants are common."""
    m = draw(st.integers(least, 40))
    dtype = draw(st.sampled_from([np.float64, np.float32]))
    values = (
        VALUES
        if dtype == np.float64
        else st.one_of(st.integers(-3, 3).map(float), st.floats(width=32, allow_nan=False))
    )
    scores = draw(arrays.arrays(dtype, (draw(st.integers(1, 3)), m), elements=values))
    return scores, draw(arrays.arrays(np.float64, (draw(st.integers(1, 2)), m), elements=VALUES))


def quietly(function, *given):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy warns of constants
        return float(function(*given)[0])


def by_scipy(function, scores, targets):
    return np.array([[quietly(function, row, target) for target in targets] for row in scores])


def there(backend):
    from kernels import dispatch

    if not dispatch._probe(backend)["available"]:
        pytest.skip(dispatch._probe(backend)["why"])
    return backend


@pytest.fixture(scope="module", params=["c", "numpy", "torch"])
def fast(request):
    return there(request.param)


@settings(max_examples=60, deadline=None)
@given(tables())
def test_spearman_is_scipys(fast, table):
    np.testing.assert_allclose(
        ranks.spearman(*table, backend=fast), by_scipy(stats.spearmanr, *table), rtol=0, atol=1e-12
    )


@settings(max_examples=60, deadline=None)
@given(tables())
@example((np.array([[1.0, 1.0, 2.0, 2.0, 3.0]]), np.array([[5.0, 5.0, 5.0, 1.0, 1.0]])))
def test_kendall_is_scipys(fast, table):
    np.testing.assert_allclose(
        ranks.kendall(*table, backend=fast), by_scipy(stats.kendalltau, *table), rtol=0, atol=1e-12
    )


@settings(max_examples=40, deadline=None)
@given(tables(least=1))
def test_average_ranks_are_scipys(fast, table):
    np.testing.assert_array_equal(ranks.average_ranks(table[0], fast), stats.rankdata(table[0], axis=1))


@settings(max_examples=40, deadline=None)
@given(tables(), st.sampled_from([(0.2, 0.5, 1.0), (0.34,), (0.75, 0.1)]))
def test_the_top_is_the_highest_scores_and_the_first_of_equal_ones(fast, table, shares):
    scores, targets = table
    found = ranks.spearman_top(scores, targets, shares, backend=fast)
    assert found.shape == (len(scores), len(targets), len(shares))
    for row, by_target in zip(scores, found, strict=True):
        order = sorted(range(len(row)), key=lambda column: (-row[column], column))
        for target, by_share in zip(targets, by_target, strict=True):
            for share, value in zip(shares, by_share, strict=True):
                kept = order[: int(share * len(row) + 1e-9)]
                # scipy refuses fewer than two; of two it gives 1, -1 or NaN like ours
                expected = quietly(stats.spearmanr, row[kept], target[kept]) if len(kept) > 1 else np.nan
                np.testing.assert_allclose(value, expected, rtol=0, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(tables(), st.integers(0, 2**32 - 1), st.sampled_from([0.5, 1.0, 2.0]))
def test_a_resample_is_the_correlation_of_the_columns_drawn(fast, table, seed, size):
    scores, target = table[0], table[1][0]
    m = scores.shape[1]
    indices = np.random.default_rng(seed).integers(m, size=(3, max(1, int(size * m))))
    found = ranks.spearman_bootstrap(scores, target, indices, backend=fast)
    expected = [ranks.spearman(scores[:, drawn], target[drawn], backend=fast) for drawn in indices]
    np.testing.assert_array_equal(found, np.transpose(expected))


@settings(max_examples=40, deadline=None)
@given(tables())
def test_only_the_order_counts(table):
    """Monotone maps change nothing; a reversed sign, the sign alone; sides may be exchanged; a row with itself is 1."""
    scores, targets = table[0].astype(np.float64), table[1]
    for correlation in (ranks.spearman, ranks.kendall):
        found = correlation(scores, targets)
        np.testing.assert_array_equal(correlation(ranks.average_ranks(scores) ** 3, targets), found)
        np.testing.assert_array_equal(correlation(-scores, targets), -found)
        np.testing.assert_array_equal(correlation(targets, scores), found.T)
        assert not np.any(np.abs(found) > 1.0)
        for row in scores:
            own = correlation(row[None], row)
            assert own == 1.0 or (np.isnan(own) and len(set(row.tolist())) == 1)


@pytest.mark.parametrize("backend", ["c", "numpy"])
@pytest.mark.parametrize("m", [25, 400, 5000])
@pytest.mark.parametrize("kind", ["normal", "ties", "heavy tails", "narrow", "outlier and last bits"])
def test_long_rows_of_every_kind_agree_with_scipy(backend, m, kind):
    """Long enough for every branch of the compiled sort and of its counting of inversions."""
    rng = np.random.default_rng(m)
    rows = rng.standard_normal((2, m))
    target = rng.standard_normal(m) + rows[0]
    if kind == "ties":
        rows, target = np.round(3 * rows), np.round(2 * target)
    elif kind == "heavy tails":
        rows = np.exp(100 * rows)
    elif kind == "narrow":
        rows = 0.76 + 1e-12 * rows
    elif kind == "outlier and last bits":
        rows = 1.0 + np.finfo(float).eps * rng.integers(0, m, (2, m))
        rows[:, m // 2] = -1e300
    for function, reference in ((ranks.spearman, stats.spearmanr), (ranks.kendall, stats.kendalltau)):
        expected = by_scipy(reference, rows, target[None])[:, 0]
        np.testing.assert_allclose(function(rows, target, backend=there(backend)), expected, rtol=0, atol=1e-12)


def test_shares_keep_as_many_columns_as_their_decimal_says():
    from kernels.ranks.inputs import top_counts

    assert top_counts((0.29, 0.2, 0.5, 1.0, 0.001), 100) == (29, 20, 50, 100, 0)
    assert top_counts((0.2, 0.3, 0.7), 10) == (2, 3, 7)
    with pytest.raises(KernelError, match=r"\(0, 1\]"):
        top_counts((1.5,), 100)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((np.zeros(4), np.zeros(4)), "shape"),
        ((np.zeros((2, 4)), np.zeros((1, 1, 4))), "shape"),
        ((np.zeros((2, 4)), np.zeros(5)), "4 columns and targets 5"),
        ((np.zeros((2, 4), np.int64), np.zeros(4)), "float32 or float64"),
        ((np.zeros((2, 0)), np.zeros(0)), "columns"),
        (([[1.0]], np.zeros(1)), "list"),
    ],
)
def test_what_does_not_fit_is_said(given, message):
    with pytest.raises(KernelError, match=message):
        ranks.spearman(*given)


def test_indices_outside_the_columns_are_refused():
    for indices in (np.array([[0, 4]]), np.array([[-1, 0]]), np.array([[0.0, 1.0]]), np.array([0, 1])):
        with pytest.raises(KernelError, match="indices"):
            ranks.spearman_bootstrap(np.ones((2, 4)), np.ones(4), indices)
