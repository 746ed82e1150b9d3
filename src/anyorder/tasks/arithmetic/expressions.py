"""Arithmetic expressions: trees, their text, their value, and the steps that reduce them.

An expression is a whole number or ``(left, operator, right)`` with the operators ``+ - *``. Its text has the fewest
parentheses with which the usual reading (``*`` before ``+`` and ``-``, then from the left) gives the tree back, so a
text says exactly which parts can be computed next: a node of two numbers is *reducible*, and reducing it puts its value
in its place. A *trace* is a list of steps ``a+b=c``, joined by ``;``, that reduces an expression to one number. Where
several nodes are reducible any may come first, so an expression has several valid traces.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from anyorder.core.errors import UserError

Expression: TypeAlias = "int | tuple[Expression, str, Expression]"

OPERATORS = "+-*"
_STRENGTH = {"+": 1, "-": 1, "*": 2}
_LONGEST = 400


def apply(left: int, operator: str, right: int) -> int:
    """The value of one operation."""
    if operator == "+":
        return left + right
    return left - right if operator == "-" else left * right


def value(expression: Expression) -> int:
    """The value of an expression."""
    if isinstance(expression, int):
        return expression
    return apply(value(expression[0]), expression[1], value(expression[2]))


def text(expression: Expression) -> str:
    """The expression as text, with the fewest parentheses; `parse` undoes it."""
    if isinstance(expression, int):
        return str(expression)
    left, operator, right = expression
    strength = _STRENGTH[operator]
    first, second = text(left), text(right)
    if not isinstance(left, int) and _STRENGTH[left[1]] < strength:
        first = f"({first})"
    if not isinstance(right, int) and _STRENGTH[right[1]] <= strength:
        second = f"({second})"
    return first + operator + second


def reductions(expression: Expression) -> Iterator[tuple[int, str, int, Expression]]:
    """Every reducible node, from the left: its numbers and operator, and the expression with its value in its place."""
    if isinstance(expression, int):
        return
    left, operator, right = expression
    if isinstance(left, int) and isinstance(right, int):
        yield left, operator, right, apply(left, operator, right)
        return
    for a, o, b, rest in reductions(left):
        yield a, o, b, (rest, operator, right)
    for a, o, b, rest in reductions(right):
        yield a, o, b, (left, operator, rest)


def step_text(left: int, operator: str, right: int) -> str:
    """One step of a trace."""
    return f"{left}{operator}{right}={apply(left, operator, right)}"


def parse(source: str) -> Expression:
    """The expression that a text stands for.

    Raises:
        UserError: it is no expression of whole numbers, ``+``, ``-``, ``*`` and parentheses, or it is longer than 400
            characters; the message names the column. Numbers have no sign and no leading zeros.
    """
    if len(source) > _LONGEST:
        raise UserError(f"an expression has at most {_LONGEST} characters, not {len(source)}")
    return _Parser(source).whole()


class _Parser:
    """Recursive descent over one text."""

    def __init__(self, source: str) -> None:
        self._source, self._at = source, 0

    def whole(self) -> Expression:
        found = self._sum()
        if self._at < len(self._source):
            raise self._error(f"unexpected {self._source[self._at]!r}")
        return found

    def _error(self, message: str) -> UserError:
        return UserError(f"the expression {self._source!r}: {message} at column {self._at + 1}")

    def _peek(self) -> str:
        return self._source[self._at] if self._at < len(self._source) else ""

    def _sum(self) -> Expression:
        found = self._product()
        while self._peek() in ("+", "-"):
            operator = self._peek()
            self._at += 1
            found = (found, operator, self._product())
        return found

    def _product(self) -> Expression:
        found = self._atom()
        while self._peek() == "*":
            self._at += 1
            found = (found, "*", self._atom())
        return found

    def _atom(self) -> Expression:
        if self._peek() == "(":
            self._at += 1
            found = self._sum()
            if self._peek() != ")":
                raise self._error("a parenthesis is not closed")
            self._at += 1
            return found
        start = self._at
        while "0" <= self._peek() <= "9":
            self._at += 1
        digits = self._source[start : self._at]
        if not digits:
            raise self._error("a number is missing")
        if (len(digits) > 1 and digits[0] == "0") or len(digits) > 18:
            self._at = start
            raise self._error(f"{digits!r} is no number without leading zeros and of at most 18 digits")
        return int(digits)
