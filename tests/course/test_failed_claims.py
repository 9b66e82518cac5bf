"""A claim that fails is no shame; a lesson that does not say so fails its proof."""

import argparse

import pytest

from utils.course import commands, lesson_file, run

TEXT = """# %% [markdown]
# ## Results
# - *loud*: not in the section
#
# ### What did not hold
#
# - *quick to learn, as a multiple
#   of the other*: the interval reaches past a half. It is *wide*.
# - *steady*: never
#
# ### After it
# - *quiet*: not in the section

# %%
x = 1
"""
TOLD = {"quick to learn, as a multiple of the other", "steady"}


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """The exit code of `evidence --check`, where the claims named `failed` do not hold."""
    (tmp_path / "0.1_demo.py").write_text(TEXT)
    monkeypatch.setattr(lesson_file, "text_of", lambda lesson: tmp_path / "0.1_demo.py")

    def command(failed):
        names = sorted(TOLD | failed | {"loud"})
        numbers = {"op": "<=", "bound": 1.0, "estimate": 0.5, "low": 0.4, "high": 0.6, "seeds": 5}
        claims = [{"name": n, "holds": n not in failed} | numbers for n in names]
        made = {"claims": claims, "seconds": 1.0, "cpu_seconds": 1.0, "device": "d", "commit": "c"}
        monkeypatch.setattr(run, "stored_evidence", lambda lesson: made)
        return commands.evidence(argparse.Namespace(lesson="0.1", check=True, seed=None))

    return command


def test_the_text_admits_what_its_section_lists(judged):
    assert lesson_file.admitted("0.1") == TOLD


def test_a_failure_that_the_text_admits_is_proven(judged, capsys):
    assert judged(TOLD) == 0
    assert capsys.readouterr().out.count("FAILS") == 2


def test_a_failure_that_the_text_is_silent_about_is_not(judged, capsys):
    assert judged(TOLD | {"loud"}) == 1
    assert "does not say so under 'What did not hold': loud" in capsys.readouterr().out


def test_a_failure_that_is_none_any_more_is_not(judged, capsys):
    assert judged({"steady"}) == 1
    assert "has no such failure: quick to learn" in capsys.readouterr().out
