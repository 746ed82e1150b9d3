from __future__ import annotations

import ast
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyorder.core.errors import UserError
from anyorder.tasks.arithmetic import parse, reductions, text, value
from anyorder.tasks.arithmetic.expressions import step_text

numbers = st.integers(0, 999)
expressions = st.recursive(numbers, lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner), max_leaves=8)


def _python(source: str) -> int:
    """The value as Python's own grammar gives it."""
    operations = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}

    def of(node: ast.expr) -> int:
        if isinstance(node, ast.Constant):
            return int(node.value)  # type: ignore[arg-type]
        assert isinstance(node, ast.BinOp)
        left, right = of(node.left), of(node.right)
        return {"+": left + right, "-": left - right, "*": left * right}[operations[type(node.op)]]

    return of(ast.parse(source, mode="eval").body)


@given(expressions)
def test_text_and_tree_are_the_same_thing(expression):
    assert parse(text(expression)) == expression
    assert value(expression) == _python(text(expression))


def test_no_parentheses_that_are_not_needed():
    assert text((((3, "+", 4), "*", 6), "-", 5)) == "(3+4)*6-5"
    assert text(((1, "-", 2), "-", 3)) == "1-2-3"
    assert text((1, "-", (2, "-", 3))) == "1-(2-3)"
    assert text((2, "*", (3, "*", 4))) == "2*(3*4)"
    assert text(((2, "*", 3), "+", (4, "*", 5))) == "2*3+4*5"


def test_reductions_are_the_nodes_of_two_numbers():
    tree = parse("(3+4)*6-(8-5)")
    found = [(step_text(a, o, b), text(rest)) for a, o, b, rest in reductions(tree)]
    assert found == [("3+4=7", "7*6-(8-5)"), ("8-5=3", "(3+4)*6-3")]
    assert list(reductions(7)) == []


@given(expressions)
def test_any_order_of_reductions_keeps_the_value(expression):
    rng, wanted = random.Random(0), value(expression)
    while not isinstance(expression, int):
        *_, expression = rng.choice(list(reductions(expression)))
    assert expression == wanted


@pytest.mark.parametrize(
    ("source", "column"),
    [("", 1), ("3+", 3), ("3+4)", 4), ("(3+4", 5), ("03+4", 1), ("3 +4", 2), ("-3", 1), ("3++4", 3), ("٣", 1)],
)
def test_what_is_no_expression_is_refused_with_its_column(source, column):
    with pytest.raises(UserError, match=f"column {column}$"):
        parse(source)


def test_depth_is_bounded():
    assert value(parse("(" * 150 + "1" + ")" * 150)) == 1
    with pytest.raises(UserError, match="400"):
        parse("(" * 5000)


@given(st.text(alphabet="0123456789+-*()x ", max_size=30))
def test_garbage_gives_a_tree_or_one_clear_line(source):
    try:
        tree = parse(source)
    except UserError:
        return
    assert parse(text(tree)) == tree
