"""The shape of the one transformer: plain values, checked."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Int

_CHOICES = {
    "attention": ("bidirectional", "causal", "block-causal"),
    "positions": ("rotary", "learned", "grid", "sections", "none"),
    "norm": ("rms", "layer"),
    "norm_place": ("before", "after"),
    "mlp": ("gated", "plain"),
    "activation": ("gelu", "gelu-tanh", "silu", "relu-squared"),
}


@dataclass(frozen=True)
class Grid:
    """A board of ``rows`` x ``columns`` cells cut into boxes of ``box_rows`` x ``box_columns``."""

    rows: int
    columns: int
    box_rows: int
    box_columns: int

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _positive(field.name, getattr(self, field.name))
        if self.rows % self.box_rows or self.columns % self.box_columns:
            raise UserError(
                f"grid of {self.rows} x {self.columns} cells cannot be cut into boxes of "
                f"{self.box_rows} x {self.box_columns}: the box sides must divide the grid sides"
            )

    @property
    def length(self) -> int:
        """Number of cells."""
        return self.rows * self.columns

    @property
    def counts(self) -> tuple[int, int, int]:
        """Number of rows, columns and boxes."""
        return self.rows, self.columns, self.length // (self.box_rows * self.box_columns)

    def units(self) -> Int[Tensor, "3 length"]:
        """The row, column and box of every cell."""
        cell = torch.arange(self.length)
        row, column = cell // self.columns, cell % self.columns
        box = row // self.box_rows * (self.columns // self.box_columns) + column // self.box_columns
        return torch.stack((row, column, box))


@dataclass(frozen=True)
class Sections:
    """A sequence of sections, each of equal groups of tokens: a header, clues, the rows of a table.

    ``shapes`` has (groups, tokens of a group) for each section. Groups and places within a group of different sections
    are different ones.
    """

    shapes: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shapes", tuple(tuple(shape) for shape in self.shapes))
        if not self.shapes or any(len(shape) != 2 for shape in self.shapes):
            raise UserError("sections: shapes needs a pair of groups and tokens of a group for each section")
        for groups, size in self.shapes:
            _positive("groups of a section", groups)
            _positive("tokens of a group", size)

    @property
    def length(self) -> int:
        """Number of tokens."""
        return sum(groups * size for groups, size in self.shapes)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Number of groups, places and sections."""
        return sum(groups for groups, _ in self.shapes), sum(size for _, size in self.shapes), len(self.shapes)

    def units(self) -> Int[Tensor, "3 length"]:
        """The group, the place within the group and the section of every token."""
        parts, first_group, first_place = [], 0, 0
        for section, (groups, size) in enumerate(self.shapes):
            token = torch.arange(groups * size)
            group, place = first_group + token // size, first_place + token % size
            parts.append(torch.stack((group, place, torch.full_like(token, section))))
            first_group, first_place = first_group + groups, first_place + size
        return torch.cat(parts, dim=1)


STRUCTURES: dict[str, tuple[type[Grid | Sections], str, str]] = {
    "grid": (Grid, "the grid's sides", "rows, columns, box_rows and box_columns"),
    "sections": (Sections, "the sections' shapes", "shapes, a list of pairs"),
}
"""What ``positions`` may read the places of tokens from: the setting of that name; what it holds, and its fields."""


@dataclass(frozen=True)
class Experts:
    """A mixture of experts in place of the MLP, in all blocks after the first ``dense_blocks``.

    Each token goes to ``active`` of ``count`` gated MLPs of ``width``, those with the highest sigmoid score plus a
    bias of the expert, out of the best ``open_groups`` of ``groups`` equal groups (a group counts by its two best
    experts). Their outputs are summed by their scores, which are first divided by their sum and multiplied by
    ``scale``. ``shared_width`` is that of an MLP that sees every token (0 = none). As in LLaDA2 and DeepSeek-V3.
    """

    count: int
    active: int
    width: int
    shared_width: int = 0
    groups: int = 1
    open_groups: int = 1
    scale: float = 1.0
    dense_blocks: int = 0

    def __post_init__(self) -> None:
        for name in ("count", "active", "width", "groups", "open_groups"):
            _positive(name, getattr(self, name))
        if self.count % self.groups or self.open_groups > self.groups:
            raise UserError(f"experts: {self.count} do not make {self.groups} equal groups, {self.open_groups} open")
        if self.active > self.count // self.groups * self.open_groups or (
            self.groups > 1 and self.count < 2 * self.groups
        ):
            raise UserError(f"experts: {self.active} cannot be active among those of {self.open_groups} groups")
        if self.shared_width < 0 or self.dense_blocks < 0:
            raise UserError("experts: shared_width and dense_blocks must be at least 0")


@dataclass(frozen=True)
class TransformerConfig:
    """The shape of a `Transformer`; refuses values and names that make no network.

    ``length`` is the longest sequence (0 = no limit, rotary or no positions only), ``mlp_width`` the hidden width of
    the MLP, ``kv_heads`` 0 means as many as ``heads``, ``head_width`` 0 means ``width / heads``. ``dropout`` acts on
    the two branches of a block, in training only.

    ``vocab_rows`` is the number of rows of the embedding and the head where some are padding (0 = ``vocab_size``);
    their logits are given and never chosen. With ``local_reach`` a token sees that many tokens on either side, with
    rotary phases of base ``local_rotary_base``, except in every ``global_every``-th layer, the first among them.
    ``first_norm`` false leaves the norm before the first attention out. ``head_layer`` is a linear layer, the
    activation and a norm before the head. ``rotary_width`` is how much of a head is rotated (0 = all of it).
    """

    vocab_size: int
    mask_token_id: int
    layers: int
    heads: int
    width: int
    mlp_width: int
    length: int = 0
    kv_heads: int = 0
    head_width: int = 0
    attention: str = "bidirectional"
    block_size: int = 0
    positions: str = "rotary"
    rotary_base: float = 10_000.0
    rotary_width: int = 0
    local_reach: int = 0
    global_every: int = 1
    local_rotary_base: float = 10_000.0
    grid: Grid | None = None
    sections: Sections | None = None
    relation_bias: bool = False
    same_token_bias: bool = False
    norm: str = "rms"
    norm_epsilon: float = 1e-6
    norm_place: str = "before"
    norm_bias: bool = True
    first_norm: bool = True
    embedding_norm: bool = False
    mlp: str = "plain"
    activation: str = "gelu"
    experts: Experts | None = None
    qk_norm: bool = False
    attention_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    tied_head: bool = False
    head_bias: bool = False
    head_layer: bool = False
    head_layer_bias: bool = False
    vocab_rows: int = 0
    loops: int = 1
    logits_shift: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("vocab_size", "layers", "heads", "width", "mlp_width", "loops", "global_every"):
            _positive(name, getattr(self, name))
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(f"{name} must be one of {', '.join(choices)}; got {getattr(self, name)!r}")
        if not 0 <= self.mask_token_id < self.vocab_size:
            raise UserError(f"mask_token_id must lie in [0, vocab_size = {self.vocab_size}); got {self.mask_token_id}")
        if self.kv_heads < 0 or self.heads % (self.kv_heads or self.heads):
            raise UserError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        if not self.head_width and self.width % self.heads:
            raise UserError(f"width ({self.width}) must be a multiple of heads ({self.heads}), or give head_width")
        if self.positions == "rotary" and (self.head_width or self.width // self.heads) % 2:
            raise UserError("rotary positions need an even head width; change width, heads or head_width")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout must lie in [0, 1); got {self.dropout}")
        if self.length < 0 or (self.positions == "learned" and not self.length):
            raise UserError("learned positions need length, the longest sequence, to be at least 1")
        for name, (_, what, _) in STRUCTURES.items():
            if (self.positions == name) != (getattr(self, name) is not None):
                raise UserError(f"positions: {name} and {what} belong together; give both or neither")
        if self.relation_bias and self.structure is None:
            raise UserError("relation_bias needs positions: grid or positions: sections")
        if self.structure is not None and self.length != self.structure.length:
            raise UserError(f"length ({self.length}) must equal the {self.structure.length} tokens of {self.positions}")
        if (self.attention == "block-causal") != (self.block_size > 0):
            raise UserError("attention: block-causal and block_size belong together; give both or neither")
        if self.vocab_rows and self.vocab_rows < self.vocab_size:
            raise UserError(f"vocab_rows ({self.vocab_rows}) must be at least vocab_size ({self.vocab_size}), or 0")
        if self.attention != "bidirectional" and (self.local_reach or self.norm_place == "after"):
            raise UserError(f"attention: {self.attention} goes with norm_place: before and without local_reach")
        if self.rotary_width % 2 or not 0 <= self.rotary_width <= (self.head_width or self.width // self.heads):
            raise UserError(f"rotary_width must be even and at most the head's width; got {self.rotary_width}")
        if self.local_reach < 0:
            raise UserError(f"local_reach must be at least 0; got {self.local_reach}")

    @property
    def structure(self) -> Grid | Sections | None:
        """What the places of tokens are read from, where positions are neither numbers nor phases."""
        return self.grid or self.sections

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TransformerConfig:
        """Read a config from plain values; an unknown name is refused with the nearest known one."""
        known = {field.name for field in dataclasses.fields(cls)}
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise UserError(f"unknown transformer setting {name!r}{hint}")
        arguments = dict(values)
        for name, (structure, _, needs) in STRUCTURES.items():
            if isinstance(arguments.get(name), dict):
                try:
                    arguments[name] = structure(**arguments[name])
                except TypeError:
                    raise UserError(f"{name} needs exactly {needs}") from None
        if isinstance(arguments.get("experts"), dict):
            try:
                arguments["experts"] = Experts(**arguments["experts"])
            except TypeError:
                known = ", ".join(field.name for field in dataclasses.fields(Experts))
                raise UserError(f"experts needs count, active and width, and knows {known}") from None
        try:
            return cls(**arguments)
        except TypeError as error:
            reason = str(error).replace("TransformerConfig.__init__() ", "")
            raise UserError(f"transformer settings: {reason}") from None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as :meth:`from_dict` reads them."""
        return dataclasses.asdict(self)

    def flops_per_token(self, length: int) -> float:
        """Multiply-adds times two for one token's forward pass through the blocks, attending over ``length`` tokens."""
        head_width = self.head_width or self.width // self.heads
        kv_heads = self.kv_heads or self.heads
        projections = self.width * head_width * (2 * self.heads + 2 * kv_heads)
        mlp = self.layers * self.width * self.mlp_width * (3 if self.mlp == "gated" else 2)
        if self.experts is not None:
            mixed = max(self.layers - self.experts.dense_blocks, 0)
            each = self.experts.active * self.experts.width + self.experts.shared_width
            mlp = mlp * (self.layers - mixed) // self.layers + mixed * self.width * (3 * each + self.experts.count)
        scores = 2 * length * self.heads * head_width
        return 2.0 * self.loops * (self.layers * (projections + scores) + mlp)


def _positive(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{name} must be a whole number of at least 1; got {value!r}")
