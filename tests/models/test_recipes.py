"""Recipes from TOML: overrides reach the networks, mistakes are named in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")
pytest.importorskip("safetensors")

from daetalker.models.training.configs import EMBEDDED, PAPER, departures  # noqa: E402
from daetalker.models.training.recipes import RecipeError, load_recipe  # noqa: E402

EXAMPLES = Path(__file__).resolve().parents[2] / "docs/examples"


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_the_two_recipes_go_by_name() -> None:
    assert load_recipe("embedded") is EMBEDDED and load_recipe("paper") is PAPER


def test_a_file_overrides_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        seed = 7
        [autoencoder.network.unet]
        size = 128
        patch = 2
        widths = [16, 32, 64, 64]
        [autoencoder.training]
        rate = 1
        [speech2latent.network]
        pose_adaptor = false
        """,
    )
    recipe = load_recipe(path)
    assert recipe.name == "mine" and recipe.size == 128
    changed = departures(recipe, EMBEDDED)
    assert {key: pair[1] for key, pair in changed.items()} == {
        "name": "mine",
        "seed": 7,
        "autoencoder.network.unet.size": 128,
        "autoencoder.network.unet.patch": 2,
        "autoencoder.network.unet.widths": (16, 32, 64, 64),
        "autoencoder.training.rate": 1.0,
        "speech2latent.network.pose_adaptor": False,
    }


def test_an_empty_student_network_is_filled_from_its_defaults(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, "[student.network]\nembedding = 64"))
    assert recipe.student.network is not None and recipe.student_network.embedding == 64
    assert EMBEDDED.student.network is None


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_examples_in_the_docs_are_valid(path: Path) -> None:
    assert load_recipe(path).name == path.stem


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("colour = 1", r"unknown key 'colour'; here can stand: name, seed"),
        ("[autoencoder.training]\nrates = 1", r"unknown key 'autoencoder.training.rates'"),
        ("[autoencoder]\nsampling_steps = 1", r"unknown key 'autoencoder.sampling_steps'"),
        ("autoencoder = 3", r"'autoencoder' must be a table"),
        ("seed = true", r"'seed' must be a whole number, not True"),
        ("seed = -1", r"'seed' must be at least 0, not -1"),
        ("[autoencoder.training]\nbatch = 2.5", r"'autoencoder.training.batch' must be a whole"),
        ("[autoencoder.training]\nbatch = 0", r"'autoencoder.training.batch' must be from 1 to"),
        ("[autoencoder.training]\nrate = '1'", r"'autoencoder.training.rate' must be a number"),
        ("[autoencoder.training]\nrate = nan", r"'autoencoder.training.rate' must be a number"),
        ("[autoencoder.training]\nnear = 1.5", r"'autoencoder.training.near' must be from 0 to 1"),
        ("[autoencoder.training]\nbatch = 4", r"'autoencoder.training.diffusion' must not be abov"),
        ("[autoencoder.network.unet]\nsize = 160", r"unet.size' must be a multiple of 128"),
        ("[autoencoder.network.unet]\nwidths = [8, 8]", r"unet.up_blocks' must be as long"),
        ("[autoencoder.network.unet]\nwidths = [8, 'x']", r"widths' must be a list of whole"),
        ("[autoencoder.network.unet]\nwidths = []", r"widths' must hold numbers of at least 1"),
        ("[speech2latent.network]\nlatent = 64", r"latent' is 64, but the autoencoder's.* 512"),
        ("[speech2latent.network]\nwidth = 30\nheads = 4", r"width' must be a multiple of twice"),
        ("[speech2latent.network]\nkernel = 12", r"kernel' must be odd"),
        ("[speech2latent.network]\npose_adaptor = 1", r"pose_adaptor' must be true or false"),
        ("[student.network]\nsize = 128", r"'student.network.size' is 128, but .* 256"),
        ("[window]\nframes = 8\nhop = 6", r"'window.hop' and 'window.lookahead' must fit"),
        ("[front_end]\nkind = 'mfcc'", r"'front_end.kind' must be one of whisper, logmel, wav2vec"),
        ("base = 'papers'", r"base must be one of embedded, paper"),
        ("base = 'paper'\n[autoencoder.network]\nbase = 48", r"base must be a multiple of 32"),
        (
            "base = 'paper'\n[speech2latent.training]\nshortest_s = 30",
            r"shortest_s' must not be above",
        ),
        ("this is no TOML", r"is not a TOML file that can be read"),
    ],
)
def test_mistakes_are_named_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(RecipeError, match=sentence) as caught:
        load_recipe(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'nowhere.toml': give embedded, paper or"):
        load_recipe("nowhere.toml")
