"""The Fréchet distance of images: torchmetrics' values, independence of the company, kept statistics, own features."""

import numpy as np
import pytest
import torch
from torch import nn

from evo.errors import ConfigError
from search_spaces.autodiffusion.fid import Score, kept_reference, own_extractor, reference_of
from search_spaces.autodiffusion.fid.classifier import Classifier
from search_spaces.autodiffusion.fid.features import MICRO_BATCH, of_classifier
from search_spaces.building.errors import DamagedBenchmarkError

HERE = "tests.search_spaces.autodiffusion.fid.test_score"


def images(count, seed, spread=0.5):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn((count, 1, 8, 8), generator=generator) * spread).clamp(-1, 1)


@pytest.fixture(scope="module")
def extractor():
    return of_classifier(Classifier(1, 8, 8, 10, features=24, seed=3), "untrained")


def network():
    return Classifier(1, 8, 8, 10, features=5, seed=1).body


def features(batch):
    return batch.flatten(1)[:, :3] * 2


def needs_nothing():
    return features


def wrong(batch):
    return batch


def test_it_equals_torchmetrics(extractor):
    metrics = pytest.importorskip("torchmetrics.image.fid")

    class Features(nn.Module):
        num_features = extractor.size

        def forward(self, batch):
            return extractor.compute(batch)

    real, fake = images(600, 0), images(400, 1, 0.7)
    metric = metrics.FrechetInceptionDistance(feature=Features(), normalize=True)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    expected = float(metric.compute())
    found = Score(extractor, reference_of(extractor, real)).of(fake)
    assert expected > 0
    # torchmetrics returns float32
    assert found == pytest.approx(expected, rel=1e-6)


def test_real_images_are_nearest(extractor):
    real = images(500, 0)
    score = Score(extractor, reference_of(extractor, real))
    assert score.of(real) == pytest.approx(0, abs=1e-9)
    assert score.of(images(500, 1)) < score.of(images(500, 1, 0.8))


def test_a_score_does_not_depend_on_its_company(extractor):
    score = Score(extractor, reference_of(extractor, images(300, 0)))
    batches = [images(120, seed) for seed in (1, 2, 3)]
    assert score.of_each(batches).tolist() == [score.of(batch) for batch in batches]


def test_features_of_an_image_depend_on_it_alone(extractor):
    batch = images(MICRO_BATCH + 7, 4)
    found = extractor.features(batch)
    assert found.shape == (MICRO_BATCH + 7, 24)
    assert found[5:9].tobytes() == extractor.features(batch[5:9]).tobytes()
    assert found[-3:].tobytes() == extractor.features(batch[-3:]).tobytes()


def test_images_that_are_not_finite_score_nan(extractor):
    score = Score(extractor, reference_of(extractor, images(300, 0)))
    broken = images(100, 1)
    broken[3, 0, 2, 2] = torch.nan
    good = images(100, 2)
    found = score.of_each([broken, good])
    assert np.isnan(found[0])
    assert found[1] == score.of(good)


def test_statistics_are_kept_by_digest(extractor, tmp_path, monkeypatch):
    real = images(300, 0)
    first = kept_reference(extractor, real, tmp_path)
    kept = kept_reference(extractor, real, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    assert kept.mean.tobytes() == first.mean.tobytes()
    assert kept.covariance.tobytes() == first.covariance.tobytes()
    assert (kept.count, kept.digest) == (300, first.digest)
    assert kept_reference(extractor, images(300, 1), tmp_path).digest != first.digest
    assert len(list(tmp_path.iterdir())) == 2


def test_damaged_statistics_are_told(extractor, tmp_path):
    real = images(300, 0)
    kept_reference(extractor, real, tmp_path)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedBenchmarkError, match="checksum"):
        kept_reference(extractor, real, tmp_path)


def test_statistics_of_other_features_are_refused(extractor):
    other = of_classifier(Classifier(1, 8, 8, 10, features=24, seed=4), "other")
    with pytest.raises(ConfigError, match="not computed with"):
        Score(other, reference_of(extractor, images(100, 0)))


def test_features_of_ones_own():
    shape = (1, 8, 8)
    by_network = own_extractor(f"{HERE}:network", shape)
    assert by_network.size == 5
    assert by_network.features(images(10, 0)).shape == (10, 5)
    by_function = own_extractor(f"{HERE}:features", shape)
    np.testing.assert_allclose(by_function.features(images(4, 0)), features(images(4, 0)).numpy())
    assert own_extractor(f"{HERE}:needs_nothing", shape).size == 3
    assert by_network.digest == own_extractor(f"{HERE}:network", shape).digest != by_function.digest


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("nothing", "module:attr"),
        ("no_such_module:x", "cannot be had"),
        (f"{HERE}:absent", "cannot be had"),
        (f"{HERE}:HERE", "is str"),
        (f"{HERE}:wrong", "return a tensor"),
    ],
)
def test_features_that_do_not_fit_are_refused(spec, said):
    with pytest.raises(ConfigError) as caught:
        own_extractor(spec, (1, 8, 8))
    assert said in str(caught.value) or said in caught.value.hint
