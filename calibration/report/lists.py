"""Many things in one sentence."""

from collections.abc import Sequence

#: So many names are read in one sentence; or so many phrases, which say more than a name of each.
_MOST_NAMES, _MOST_PHRASES = 4, 3


def listed(items: Sequence[str]) -> str:
    """Names in words, and how many more where there are many."""
    if len(items) > _MOST_NAMES:
        items = (*items[: _MOST_NAMES - 1], f"{len(items) - _MOST_NAMES + 1} more")
    return f"{', '.join(items[:-1])} and {items[-1]}" if len(items) > 1 else "".join(items)


def phrases(items: Sequence[str]) -> str:
    """The same of what is longer than a name."""
    if len(items) > _MOST_PHRASES:
        items = (*items[: _MOST_PHRASES - 1], f"and {len(items) - _MOST_PHRASES + 1} more")
    return "; ".join(items)
