"""Tables on a terminal of any width."""

from rich.console import Console
from rich.table import Table

from sweeps.output import say


def open_table(gap: int = 2) -> Table:
    """A table without lines, which leaves 80 columns to its words; `gap`: blanks between two columns."""
    return Table(box=None, padding=(0, gap, 0, 0), header_style="bold")


def print_table(table: Table, console: Console) -> None:
    """Print a table or, where it does not fit without losing words, its rows as lines."""
    if console.measure(table, options=console.options.update(max_width=1000)).minimum <= console.width:
        console.print(table)
        return
    title, *headings = (str(column.header) for column in table.columns)
    console.print(title, soft_wrap=True)
    for name, *cells in zip(*(column.cells for column in table.columns), strict=True):
        values = ", ".join(f"{heading} {cell}" for heading, cell in zip(headings, cells, strict=True))
        say(console, f"{name}: {values}")


def whole(table: Table, first: int = 0) -> Table:
    """Let no cell of the columns from `first` on be shortened."""
    for column in table.columns[first:]:
        column.min_width = max(len(str(cell)) for cell in (column.header, *column.cells))
    return table
