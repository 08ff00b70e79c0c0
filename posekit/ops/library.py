"""The operators of the namespace `posekit`."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

LIBRARY = torch.library.Library("posekit", "FRAGMENT")


def implements(schema: str) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Define an operator by its schema, with a function that computes it on every device that has no kernel of its own.

    Not by `torch.library.custom_op`, which imports torch's compiler at the first call: 2.4 s before the first picture.
    """

    def register(implementation: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
        LIBRARY.impl(schema.partition("(")[0], implementation, "CompositeExplicitAutograd")
        return implementation

    return register
