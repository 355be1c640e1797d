"""Prediction for picture files of any kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from cnn_registry.errors import BadImageError, CnnRegistryError, RunError, UsageError
from cnn_registry.inference.predict import predict
from cnn_registry.runs.run import Run


def test_the_classes_come_most_probable_first(trained: Path, colours: Path) -> None:
    files = [colours / name / "0.png" for name in ("red", "green", "blue")]
    predictions = predict(Run.open(trained), files)
    assert [prediction.image for prediction in predictions] == files
    assert [prediction.classes[0][0] for prediction in predictions] == ["red", "green", "blue"]
    for prediction in predictions:
        probabilities = [probability for _, probability in prediction.classes]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)


def test_more_files_than_a_batch_holds(trained: Path, colours: Path) -> None:
    files = sorted(colours.rglob("*.png"))
    predictions = predict(Run.open(trained), files, top=1)
    assert [prediction.image for prediction in predictions] == files
    assert all(len(prediction.classes) == 1 for prediction in predictions)
    single = predict(Run.open(trained), [files[-1]], top=1)[0]
    assert single.classes[0][1] == pytest.approx(predictions[-1].classes[0][1], rel=1e-4)


def test_a_grey_picture_and_a_rotated_one_predict_like_any_other(trained: Path, colours: Path, tmp_path: Path) -> None:
    with Image.open(colours / "red" / "0.png") as upright:
        upright.convert("L").save(tmp_path / "grey.png")
        upright.save(tmp_path / "upright.png")
        exif = Image.Exif()
        exif[0x0112] = 6  # stored a quarter turn to the left: to be shown turned to the right
        upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "rotated.png", exif=exif)
    grey, plain, rotated = predict(
        Run.open(trained), [tmp_path / f"{name}.png" for name in ("grey", "upright", "rotated")]
    )
    assert len(grey.classes) == 3
    assert dict(rotated.classes) == pytest.approx(dict(plain.classes))


def test_a_file_that_is_not_a_picture_is_one_error(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(BadImageError, match=r"text\.jpg cannot be read"):
        predict(Run.open(trained), [tmp_path / "text.jpg"])


def test_a_missing_file_is_one_error(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(CnnRegistryError, match=r"none\.jpg cannot be read as an image: no such file"):
        predict(Run.open(trained), [tmp_path / "none.jpg"])


def test_a_name_that_is_too_long_is_missing(trained: Path, colours: Path) -> None:
    name = "x" * 300
    for images in (f"{name}.png", [f"{name}.png"]):
        with pytest.raises(BadImageError, match=r"x\.png cannot be read as an image: no such file"):
            predict(trained, images)
    with pytest.raises(RunError, match=r"File name too long\.$"):
        predict(name, colours)


def test_no_classes_to_show_is_refused(trained: Path, colours: Path) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        predict(Run.open(trained), [colours / "red" / "0.png"], top=0)


def test_bad_files_are_rows_with_their_reasons_and_the_others_are_predicted(
    trained: Path, colours: Path, tmp_path: Path
) -> None:
    good = colours / "red" / "0.png"
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:100])
    files = [tmp_path / "text.jpg", good, tmp_path / "none.jpg", tmp_path / "cut.png", good]
    found = predict(trained, files, on_bad_image="skip")
    assert [prediction.image for prediction in found] == files
    assert [bool(prediction.reason) for prediction in found] == [True, False, True, True, False]
    assert found[1].classes[0][0] == found[4].classes[0][0] == "red"
    assert "no such file" in found[2].reason
    with pytest.raises(BadImageError):
        predict(trained, [good] * 40 + [tmp_path / "cut.png"])


def test_a_folder_stands_for_its_pictures(trained: Path, colours: Path, tmp_path: Path) -> None:
    found = predict(str(trained), [str(colours)], top=1)
    assert len(found) == 60
    assert [prediction.image.parent.name for prediction in found[:20]] == ["blue"] * 20
    assert found[2].image.name == "2.png", "naturally sorted"
    (tmp_path / "empty").mkdir()
    with pytest.raises(CnnRegistryError, match=r"empty holds no pictures; expected JPEG"):
        predict(trained, [tmp_path / "empty"])
