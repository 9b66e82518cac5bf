"""The solved lessons as a reader opens them: stored outputs, nothing run."""

from pathlib import Path

import pytest

SOLUTIONS = sorted((Path(__file__).parents[2] / "solutions").glob("*.ipynb"))


@pytest.mark.browser
@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_a_stored_lesson_shows_its_figures_and_no_error(notebook, shots, path) -> None:
    page = notebook(path, seconds=90, run=False)
    pictures = page.locator(".jp-OutputArea-output img")
    assert pictures.count() >= 5
    widths = pictures.evaluate_all("all => all.map(image => image.naturalWidth)")
    assert min(widths) > 0  # each was decoded
    assert page.get_by_text("What is missing", exact=True).count() >= 1
    shots(page, path.stem)
