"""What a person says of an avatar before it is exported, and the figures that go with it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the training extra")

from daetalker.models.consent import Consent
from daetalker.models.training.data import DataError
from daetalker.models.training.description import read_description
from daetalker.models.training.figures import training_figures

DOCS = Path(__file__).resolve().parents[2] / "docs/your-avatar.md"
GOOD = """
name = "ann"
label = "Ann"
licence = "for Ann alone"
synthetic = false
attributions = ["filmed by Ann"]
licence_files = ["TERMS.txt"]
figures.test = { psnr_db = 33.5 }

[consent]
person = "Ann Example"
agreed_by = "Ann Example"
statement = "I agree that my face may be shown saying what I say."
uses = ["my own calls"]
date = 2026-11-23
"""


def write(folder: Path, text: str, name: str = "avatar.toml") -> Path:
    (folder / "TERMS.txt").write_text("terms")
    path = folder / name
    path.write_text(text)
    return path


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    described, figures = read_description(write(tmp_path, GOOD))
    assert (described.name, described.synthetic) == ("ann", False)
    assert described.licence_files == (tmp_path / "TERMS.txt",)
    assert described.consent.date == "2026-11-23" and described.consent.uses == ("my own calls",)
    assert figures == {"test": {"psnr_db": 33.5}}
    values = {
        "name": "ann", "label": "Ann", "licence": "for Ann alone", "synthetic": False,
        "attributions": ["filmed by Ann"], "licence_files": ["TERMS.txt"], "figures": figures,
        "consent": described.consent.as_json(),
    }  # fmt: skip
    again = read_description(write(tmp_path, json.dumps(values), "avatar.json"))
    assert again == (described, figures)


def test_for_a_synthetic_face_one_sentence_is_enough(tmp_path: Path) -> None:
    text = 'name = "box"\nlabel = "Box"\nlicence = "none"\nsynthetic = true\nconsent = "a drawing"'
    described, figures = read_description(write(tmp_path, text))
    assert described.consent == Consent(statement="a drawing") and figures == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("licence = ", "colour = "), "colour"),
        (('"ann"', '"../ann"'), "name must be"),
        (("synthetic = false", 'synthetic = "no"'), "synthetic must be true or false"),
        (("TERMS.txt", "nowhere.txt"), r"nowhere\.txt is missing"),
        (("[consent]", "[consent"), "cannot describe"),
        (('["my own calls"]', '"all"'), "consent.uses must be a list"),
        (("date = 2026-11-23", 'date = "soon"'), "YYYY-MM-DD"),
        (("date = 2026-11-23", ""), r"does not say consent\.date"),
        (("I agree that my face may be shown saying what I say.", ""), "consent.statement"),
        (('person = "Ann Example"', 'person = "TODO"'), "consent.person"),
    ],
)
def test_mistakes_are_one_sentence_that_names_them(
    tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    assert change[0] in GOOD
    with pytest.raises(DataError, match=words) as caught:
        read_description(write(tmp_path, GOOD.replace(*change)))
    assert "docs/your-avatar.md" in str(caught.value) and "avatar.toml" in str(caught.value)


def test_a_missing_file_and_other_documents_are_refused(tmp_path: Path) -> None:
    for path in (
        tmp_path / "none.toml",
        write(tmp_path, "{", "a.json"),
        write(tmp_path, "[]", "b.json"),
        write(tmp_path, '{"name": "x"}', "c.json"),
    ):
        with pytest.raises(DataError, match="cannot describe an avatar"):
            read_description(path)


def test_the_documented_form_is_refused_until_it_is_filled_in(tmp_path: Path) -> None:
    (form,) = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.S)
    with pytest.raises(DataError, match="does not say consent"):
        read_description(write(tmp_path, form))
    filled = re.sub(r"<[^>]*>", "what was asked here", form).replace('""', '"2026-11-23"')
    described, _ = read_description(write(tmp_path, filled))
    assert not described.synthetic


def test_the_newest_figures_of_a_run_are_quoted(tmp_path: Path) -> None:
    rows = [
        {"step": 10, "minutes": 0.1, "loss": 0.5, "rate": 1e-3},
        {"step": 20, "minutes": 0.2, "loss": 0.4, "psnr": 31.23456789},
        {"step": 30, "minutes": 0.3, "loss": 0.3},
    ]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "student.jsonl").write_text("\n".join([*lines, '{"step": 40, "lo']))
    figures = training_figures(tmp_path)
    assert figures.keys() == {"student"}
    assert figures["student"]["step"] == 30 and figures["student"]["loss"] == 0.3
    assert figures["student"]["psnr"] == 31.2346 and "rate" not in figures["student"]
