"""Links of Markdown files lead to files of this repository; those of docs/, which are a site, to files of docs/."""

import re

import pytest
from conftest import REPO

import unbabble
from unbabble import errors

PAGES = [*REPO.glob("*.md"), *REPO.glob("docs/**/*.md"), *REPO.glob("examples/*.md")]
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_links_lead_somewhere(page):
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    root = REPO / "docs" if page.is_relative_to(REPO / "docs") else REPO
    places = [(page.parent / target).resolve() for target in targets]
    assert [place for place in places if not place.exists() or not place.is_relative_to(root)] == []


def test_the_api_page_has_all_that_is_public():
    page = (REPO / "docs" / "api.md").read_text(encoding="utf-8")
    public = {name for name in unbabble.__all__ if not name.startswith("_")} - set(vars(errors))
    assert [name for name in sorted(public) if f"::: unbabble.{name}\n" not in page] == []
