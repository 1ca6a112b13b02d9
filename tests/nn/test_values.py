"""Where values apply: for all columns at once as for each of them."""

import torch

from musicae.music.domain import MusicConfig, MusicDomain
from musicae.nn.values import scaled_values, values_apply


def test_all_columns_at_once_apply_where_each_does() -> None:
    generator = torch.Generator().manual_seed(0)
    counted = 0
    for part in ("melody", "drums", "trio", "piano"):
        spec = MusicDomain(MusicConfig(part=part, expression=True)).spec
        symbols = torch.stack(
            [torch.randint(0, size, (3, 40), generator=generator) for size in spec.symbols[: len(spec.vocabulary)]], -1
        )
        each = torch.stack([column.applies(symbols[..., column.stream]) for column in spec.values], -1)
        assert torch.equal(values_apply(spec.values, symbols), each)
        counted += int(each.sum())
        numbers = torch.stack(
            [torch.randint(0, column.levels, (3, 40), generator=generator) for column in spec.values], -1
        )
        scaled = scaled_values(spec.values, torch.cat([symbols, numbers], -1))
        for place, column in enumerate(spec.values):
            wanted = torch.where(each[..., place], (numbers[..., place] - column.middle) / column.spread, 0.0)
            torch.testing.assert_close(scaled[..., place], wanted)
    assert counted > 1000
