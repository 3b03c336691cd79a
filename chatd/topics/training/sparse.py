"""Sparse rows in numpy alone: as much of a sparse matrix as fitting the first stage needs.

So a shop can train with what labelling needs anyway, half as fast as with a compiled library. A product gathers the
other matrix's rows and sums them weighted. Rows of about the same length are done together, filled up with zeros to one
width, so that the sums are small matrix products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from chatd.topics.model import Floats

Integers = NDArray[np.intp]

# A longer row is done in pieces; widths grow by half a power of two, so that a third is filled up at most.
WIDTH_MAX = 256
# So many numbers are gathered at once: they stay in the processor's cache.
GATHERED_AT_ONCE = 200_000


@dataclass(frozen=True)
class SparseRows:
    """A matrix of `len(starts) - 1` rows and `width` columns.

    Row i has the values `values[starts[i]:starts[i + 1]]`, in the columns that `columns` names at the same places.
    """

    starts: Integers
    columns: Integers
    values: Floats
    width: int

    @classmethod
    def of(cls, rows: Sequence[tuple[Integers, Floats]], width: int) -> SparseRows:
        """From each row's columns and values."""
        starts = np.concatenate([[0], np.cumsum([len(columns) for columns, _ in rows])]).astype(np.intp)
        columns = np.concatenate([columns for columns, _ in rows]) if rows else np.zeros(0, np.intp)
        values = np.concatenate([values for _, values in rows]) if rows else np.zeros(0, np.float32)
        return cls(starts, columns.astype(np.intp), values.astype(np.float32), width)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def take(self, rows: Integers) -> SparseRows:
        """Some rows, in this order."""
        lengths = np.diff(self.starts)[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.intp)
        places = np.arange(starts[-1]) + np.repeat(self.starts[rows] - starts[:-1], lengths)
        return SparseRows(starts, self.columns[places], self.values[places], self.width)

    def keep(self, columns: Integers) -> SparseRows:
        """These columns alone, which must be in order; they are numbered anew."""
        number = np.full(self.width, -1, dtype=np.intp)
        number[columns] = np.arange(len(columns))
        found = number[self.columns]
        kept = found >= 0
        starts = np.concatenate([[0], np.cumsum(kept)])[self.starts].astype(np.intp)
        return SparseRows(starts, found[kept], self.values[kept], len(columns))

    def turned(self) -> SparseRows:
        """Columns as rows."""
        order = np.argsort(self.columns, kind="stable")
        rows = np.repeat(np.arange(len(self)), np.diff(self.starts))
        starts = np.concatenate([[0], np.cumsum(np.bincount(self.columns, minlength=self.width))]).astype(np.intp)
        return SparseRows(starts, rows[order], self.values[order], len(self))

    def __matmul__(self, other: Floats) -> Floats:
        product = np.zeros((len(self), other.shape[1]), dtype=np.float32)
        for rows, columns, values in self._blocks:
            sums = np.matmul(values, other.take(columns, axis=0))[:, 0]
            if values.shape[2] == WIDTH_MAX:  # only there a row in several pieces is met twice in a block
                np.add.at(product, rows, sums)
            else:
                product[rows] += sums
        return product

    @cached_property
    def _blocks(self) -> list[tuple[Integers, Integers, Floats]]:
        """Pieces of rows of one width each: whose they are, their columns, their values."""
        lengths = np.diff(self.starts)
        pieces = -(-lengths // WIDTH_MAX)
        rows = np.repeat(np.arange(len(self)), pieces)
        first_piece = np.repeat(np.cumsum(pieces) - pieces, pieces)
        begins = self.starts[:-1][rows] + (np.arange(len(rows)) - first_piece) * WIDTH_MAX
        sizes = np.minimum(WIDTH_MAX, self.starts[1:][rows] - begins)
        widths = np.unique(np.ceil(2.0 ** (np.arange(0, 2 * np.log2(WIDTH_MAX) + 1) / 2)).astype(np.intp))
        kinds = np.searchsorted(widths, sizes)
        found = []
        for kind, width in enumerate(widths):
            chosen = np.flatnonzero(kinds == kind)
            step = max(1, GATHERED_AT_ONCE // int(width))
            for begin in range(0, len(chosen), step):
                part = chosen[begin : begin + step]
                reach = np.arange(width)[None, :]
                inside = reach < sizes[part][:, None]
                places = np.where(inside, begins[part][:, None] + reach, 0)
                columns = np.where(inside, self.columns[places], 0)
                values = np.where(inside, self.values[places], np.float32(0))
                found.append((rows[part], columns, values[:, None, :]))
        return found
