"""What a figure shows, for tests."""

import io

from matplotlib.figure import Figure


def png(figure: Figure) -> bytes:
    with io.BytesIO() as buffer:
        figure.savefig(buffer, format="png", dpi=50)
        return buffer.getvalue()


def texts(figure: Figure) -> list[str]:
    """The texts within the panels of a figure that can be drawn."""
    assert png(figure).startswith(b"\x89PNG")
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]
