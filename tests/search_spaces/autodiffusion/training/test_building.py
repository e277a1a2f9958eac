"""A build from the settings to the folder: the same after a kill, readable by diffusers, refusing what does not fit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from evo.errors import ConfigError, RunLockedError
from search_spaces.autodiffusion.fid import Score
from search_spaces.autodiffusion.models.files import (
    read_about,
    read_classifier,
    read_extractor,
    read_model,
    read_statistics,
)
from search_spaces.autodiffusion.training import denoiser
from search_spaces.autodiffusion.training.baselines import BLOCK
from search_spaces.autodiffusion.training.building import build
from search_spaces.autodiffusion.training.denoiser import loss_of
from search_spaces.autodiffusion.training.pictures import pictures
from search_spaces.autodiffusion.training.settings import build_settings
from search_spaces.building.errors import BenchmarkError
from search_spaces.building.session import locked, one_thread
from tests.search_spaces.autodiffusion.training import tiny

OWN = {**tiny.SETTINGS, "data": "tests.search_spaces.autodiffusion.training.tiny:stripes"}
ROOT = Path(__file__).resolve().parents[4]


def quiet(done, total, what):
    pass


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    return folder, build(OWN, folder, quiet)


def content(folder):
    names = ("unet/diffusion_pytorch_model.safetensors", "classifier.safetensors", "reference.safetensors")
    return {name: (folder / name).read_bytes() for name in (*names, "about.json", "unet/config.json")}


def test_a_build_says_what_it_made(built):
    folder, said = built
    about = read_about(folder)
    assert {count: len(values) for count, values in about["floor"].items()} == {
        "250": 5, "500": 5, "1000": 5, "1500": 5,
    }  # fmt: skip
    assert about["digest"] == read_model(folder).digest
    assert about["extractor"] == read_extractor(folder).digest == read_statistics(folder).extractor
    assert len(about["losses"]) == 1
    assert f"{about['loss']:.4f}" in said.text
    assert said.data["digest"] == about["digest"]
    assert 0 <= about["accuracy"] <= 1


def test_the_recorded_loss_is_that_of_the_stored_weights(built):
    folder, _ = built
    with one_thread():
        found = loss_of(read_model(folder), pictures(OWN["data"]).images)
    assert found == pytest.approx(read_about(folder)["loss"], rel=1e-6)


def test_the_same_build_gives_the_same_bytes(built, tmp_path):
    build(OWN, tmp_path, quiet)
    assert content(built[0]) == content(tmp_path)


def test_another_seed_gives_another_model(built, tmp_path):
    build({**OWN, "seed": 1}, tmp_path, quiet)
    assert read_model(tmp_path).digest != read_model(built[0]).digest


def test_a_training_that_is_broken_off_goes_on_to_the_same_weights(built, tmp_path, monkeypatch):
    monkeypatch.setattr(denoiser, "KEPT_EVERY", 2)
    real_share = denoiser.rate_share
    steps = []

    def counted(step, recipe):
        steps.append(step)
        if len(steps) == 5:
            raise KeyboardInterrupt
        return real_share(step, recipe)

    monkeypatch.setattr(denoiser, "rate_share", counted)
    with pytest.raises(KeyboardInterrupt):
        build(OWN, tmp_path, quiet)
    assert not (tmp_path / "about.json").exists()
    steps.clear()
    monkeypatch.setattr(denoiser, "rate_share", lambda step, recipe: (steps.append(step), real_share(step, recipe))[1])
    build(OWN, tmp_path, quiet)
    assert steps == [4, 5]
    assert read_model(tmp_path).digest == read_model(built[0]).digest
    assert read_about(tmp_path)["loss"] == read_about(built[0])["loss"]


def test_a_killed_build_goes_on(built, tmp_path):
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from search_spaces.autodiffusion.training import building, denoiser\n"
        "denoiser.KEPT_EVERY = 2\n"
        "share = denoiser.rate_share\n"
        "def slow(step, recipe):\n"
        "    if step == 4: time.sleep(60)\n"
        "    return share(step, recipe)\n"
        "denoiser.rate_share = slow\n"
        f"building.build({OWN!r}, Path(sys.argv[1]), lambda *a: None)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    checkpoint = tmp_path / "work" / "denoiser.safetensors"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if checkpoint.is_file() and denoiser.read_tensors(checkpoint)[1]["done"] == 4:
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "about.json").exists()
    build(OWN, tmp_path, quiet)
    assert read_model(tmp_path).digest == read_model(built[0]).digest


def test_a_checkpoint_of_other_settings_is_not_used(built, tmp_path):
    build({**OWN, "rate": 1e-4}, tmp_path, quiet)
    build(OWN, tmp_path, quiet)
    assert read_model(tmp_path).digest == read_model(built[0]).digest


def test_diffusers_reads_the_folder(built):
    from diffusers import DDPMPipeline

    folder, _ = built
    pipeline = DDPMPipeline.from_pretrained(folder)
    model = read_model(folder)
    x, t = torch.randn((2, 1, 4, 4), generator=torch.Generator().manual_seed(0)), torch.tensor([3, 19])
    with torch.no_grad():
        expected = pipeline.unet.eval()(x, t).sample
    torch.testing.assert_close(model(x, t), expected, rtol=0, atol=1e-6)
    assert model.schedule.steps == len(pipeline.scheduler.alphas_cumprod) == 20
    assert model.schedule.clip


def test_images_of_all_steps_are_kept_and_their_distance_told(built, tmp_path):
    settings = {**OWN, "levels": 3, "ddpm_seeds": 2, "ddpm_samples": BLOCK + 10}
    said = build(settings, tmp_path, quiet)
    kept = sorted((tmp_path / "work" / "ddpm").iterdir())
    assert len(kept) == 4
    assert len(said.data["ddpm"]["fid"]) == 2
    before = {path: path.stat().st_mtime_ns for path in kept}
    again = build(settings, tmp_path, quiet)
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    assert again.data == said.data
    images = [denoiser.read_tensors(path)[0]["images"] for path in kept[:2]]
    score = Score(read_extractor(tmp_path), read_statistics(tmp_path))
    assert score.of(torch.cat(images)[: BLOCK + 10]) == pytest.approx(said.data["ddpm"]["fid"][0], abs=1e-4)


def test_features_of_ones_own_need_no_labels(tmp_path):
    where = "tests.search_spaces.autodiffusion.training.tiny"
    with pytest.raises(BenchmarkError, match="no labels"):
        build({**OWN, "data": f"{where}:unlabelled"}, tmp_path, quiet)
    said = build({**OWN, "data": f"{where}:unlabelled", "features": f"{where}:features"}, tmp_path, quiet)
    assert said.data["accuracy"] is None
    assert read_statistics(tmp_path).mean.shape == (6,)
    assert read_extractor(tmp_path).digest == read_statistics(tmp_path).extractor


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("too_bright", "outside"),
        ("mislabelled", "labels are not"),
        ("raises", "no such disk"),
        ("absent", "cannot be had"),
    ],
)
def test_data_that_do_not_fit_are_refused(name, said, tmp_path):
    with pytest.raises(BenchmarkError, match=said):
        build({**OWN, "data": f"tests.search_spaces.autodiffusion.training.tiny:{name}"}, tmp_path, quiet)


def test_bytes_become_minus_one_to_one():
    found = pictures("tests.search_spaces.autodiffusion.training.tiny:bytes_alone")
    assert found.shape == (1, 4, 4)
    assert float(found.images.min()) == pytest.approx(200 / 127.5 - 1)
    assert found.labels is None


@pytest.mark.parametrize(
    "given",
    [
        {"step": 3}, {"steps": 0}, {"betas": "round"}, {"model": "digit"}, {"channels": [8]},
        {"channels": "wide"}, {"channels": [8, 12]},
        {"rate": -1.0}, {"seed": -1}, {"ddpm_samples": 1},
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(given):
    with pytest.raises(ConfigError):
        build_settings(given)


def test_data_choose_their_recipe():
    assert build_settings({"data": "fashion"}).recipe().channels == (24, 48, 96)
    assert build_settings({"model": "digits_other"}).recipe().seed == 1
    assert build_settings({}).recipe().data == "digits"
    assert build_settings({"channels": "16,24"}).recipe().channels == (16, 24)
    assert build_settings({"model": "fashion", "steps": 7}).recipe().steps == 7


def test_images_must_halve_as_often_as_the_network_does(tmp_path):
    with pytest.raises(BenchmarkError, match="halve"):
        build({**OWN, "channels": [8, 8, 8, 8], "attention": [False] * 4}, tmp_path, quiet)


def test_two_builds_do_not_share_a_folder(tmp_path):
    with locked(tmp_path), pytest.raises(RunLockedError):
        build(OWN, tmp_path, quiet)


def test_the_digits_and_the_clothes_are_what_they_were():
    digits = pictures("digits")
    assert (tuple(digits.images.shape), digits.tested) == ((1797, 1, 8, 8), 300)
    assert (float(digits.images.min()), float(digits.images.max())) == (-1, 1)
    clothes = pictures("fashion", "shipped")
    assert tuple(clothes.images.shape) == (10_000, 1, 16, 16)
    assert clothes.labels.bincount().tolist() == [1000] * 10
    assert 0 < clothes.tested < 2000
    assert float(clothes.images.abs().max()) <= 1


def test_a_stored_classifier_is_the_one_that_was_judged(built):
    folder, _ = built
    network = read_classifier(folder)
    found = pictures(OWN["data"])
    right = (network(found.images[-found.tested :]).argmax(1) == found.labels[-found.tested :]).double().mean()
    assert float(right) == pytest.approx(read_about(folder)["accuracy"])
