"""The words that a reader may not know, and links to them from where they first stand in a section."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from markupsafe import Markup, escape

from analysis.page.blocks import Block, Definitions, Drawing, Gallery, Paragraph, Section, Table

TERMS: Mapping[str, str] = {
    "MIX'EM": (
        "Sorts images into classes without labels: a mixture of embeddings, trained on top of a base encoder, whose "
        "components start K-means (Varamesh and Tuytelaars, ACCV 2020, which is the paper that this page speaks of)."
    ),
    "configuration": "All settings but the seed. A trial is one configuration trained with one seed.",
    "λ1 to λ4": (
        "The weights of the loss terms beside the contrastive loss. λ1, component entropy: all components are used. "
        "λ2, instance: each image decides for one component. λ3, push: components keep apart. λ4, pull: the images of "
        "a component keep together."
    ),
    "base encoder": (
        "The network of stage 1, pre-trained by SimCLR alone. All trials of a seed start from the same one, and "
        "SimCLR + K-means clusters its features."
    ),
    "component": (
        "One of the mixture's embeddings. MIX'EM learns several for each image and weighs them by mixing "
        "coefficients; the one with the largest coefficient dominates."
    ),
    "argmax": "Clustering without K-means: each image belongs to its dominant component.",
    "ACC": (
        "Clustering accuracy: the share of test images in the right class, after clusters and classes are matched one "
        "to one so that it is highest."
    ),
    "NMI": "Normalised mutual information of clusters and classes: 100 % where they are the same.",
    "ARI": "Adjusted Rand index, how alike two clusterings are: 1 or 100 % where they are the same, 0 as by chance.",
    "criterion": (
        "The number by which the configuration is picked, measured on validation images and without labels; lower "
        "is better."
    ),
    "tied": (
        "Cannot be told apart by the criterion: the difference from the lowest is within its standard error over the "
        "seeds or, with one seed, over draws of augmentations."
    ),
    "regret": "Points of accuracy that a criterion's pick falls short of the most accurate configuration.",
    "transductive": (
        "The scored images were part of training, without their labels; inductive: they were not. Scores of the two "
        "cannot be compared."
    ),
    "margin": "How much farther from an image the second cluster centre is than the nearest; 0: between both.",
}
FORMS = {
    "MIX'EM": "MIX(?:'|&#39;)EM",
    "λ1 to λ4": "λ[1-4]",
    "component": "components?(?! entropy)",
    "criterion": "criterion|criteria",
    "tied": "tied|cannot be told apart",
    "regret": "regret",
    "transductive": "transductive|inductive",
}
"""How a term is written, where that is more than its plural in s."""
_WORDS = {term: re.compile(rf"\b(?:{FORMS.get(term, f'{term}s?')})\b", re.IGNORECASE) for term in TERMS}
_TAG = re.compile(r"(<a\b.*?</a>|<code\b.*?</code>|<[^>]+>)", re.DOTALL)


def anchor(term: str) -> str:
    """The id of a term's explanation."""
    return "term-" + term.replace(" ", "-").replace("'", "")


def glossary() -> Section:
    """The terms and what they mean."""
    rows = [(Markup('<span id="{}">{}</span>').format(anchor(term), term), text) for term, text in TERMS.items()]
    return Section("glossary", "Glossary", [Definitions(rows)])


def with_terms(section: Section) -> Section:
    """The section with a link at the first place of each term in its texts and captions."""
    left = dict(_WORDS)
    return replace(section, blocks=[_linked_block(block, left) for block in section.blocks])


def _linked_block(block: Block, left: dict[str, re.Pattern[str]]) -> Block:
    if isinstance(block, Paragraph):
        return replace(block, text=_linked(block.text, left))
    if isinstance(block, Table | Drawing | Gallery):
        return replace(block, caption=_linked(block.caption, left))
    if isinstance(block, Definitions):
        return replace(block, rows=[(term, _linked(text, left)) for term, text in block.rows])
    return block


def _linked(text: str, left: dict[str, re.Pattern[str]]) -> Markup:
    """The text with links; terms that were found are taken out of `left`."""
    parts: Sequence[str] = _TAG.split(str(escape(text)))
    for term in list(left):
        for place, part in enumerate(parts):
            if part.startswith("<") or not (match := left[term].search(part)):
                continue
            link = f'<a class="term" href="#{anchor(term)}">{match[0]}</a>'
            head, tail = part[: match.start()], part[match.end() :]
            parts = [*parts[:place], head, link, tail, *parts[place + 1 :]]
            del left[term]
            break
    return Markup("".join(parts))
