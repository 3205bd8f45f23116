"""Words that are explained, and the links to them."""

from markupsafe import Markup, escape

from analysis.page.blocks import Paragraph, Section
from analysis.page.glossary import TERMS, anchor, glossary, with_terms


def linked(*texts: str) -> list[str]:
    blocks = with_terms(Section("s", "S", [Paragraph(text) for text in texts])).blocks
    return [str(block.text) for block in blocks if isinstance(block, Paragraph)]


def test_a_term_is_linked_where_it_first_stands() -> None:
    first, second = linked("two Components", "a component")
    assert first == 'two <a class="term" href="#term-component">Components</a>'
    assert second == "a component"


def test_links_code_and_tags_stay_as_they_are() -> None:
    text = Markup('<a href="#x">regret</a> <code>argmax</code> <span title="criterion">x</span>')
    assert linked(text) == [str(text)]


def test_what_is_no_markup_is_escaped() -> None:
    assert linked("<b>regret") == ['&lt;b&gt;<a class="term" href="#term-regret">regret</a>']


def test_the_component_entropy_is_no_component() -> None:
    assert linked("component entropy") == ["component entropy"]


def test_a_name_with_an_apostrophe_is_linked() -> None:
    for text, shown in (("MIX'EM", "MIX&#39;EM"), (Markup("MIX'EM"), "MIX'EM")):
        assert linked(text) == [f'<a class="term" href="#term-MIXEM">{shown}</a>']


def test_every_term_has_its_anchor() -> None:
    rows = [str(term) for block in glossary().blocks for term, _ in block.rows]  # type: ignore[union-attr]
    assert rows == [f'<span id="{anchor(term)}">{escape(term)}</span>' for term in TERMS]
