"""What a sweep runs: products of lists of options, less what is excluded, with what is overridden."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from emunum.experiments.config import RunConfig
from emunum.experiments.defaults import PLAIN, configure
from emunum.experiments.sweeps.values import LIMIT, listed, named, require_known

Lists = Mapping[str, tuple[Any, ...]]
"""Options with the values that are listed for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Options that are set where others have one of the values in `when`."""

    when: Lists
    set: Lists


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The runs that a grid asks for, each once, and what became of its combinations."""

    configs: tuple[RunConfig, ...]
    combinations: int
    excluded: int
    repeated: int
    varied: tuple[str, ...]
    """Options that differ between the runs."""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Products of lists, less the combinations that are excluded, with what is overridden."""

    products: tuple[Lists, ...]
    excluded: tuple[Lists, ...] = ()
    overrides: tuple[Override, ...] = ()

    def with_options(self, lists: Lists) -> Grid:
        """Return the grid with these lists in the place of its own of the same options, in every product."""
        return replace(self, products=tuple({**own, **lists} for own in self.products))

    def plan(self) -> Plan:
        """Return the runs, in the order of the lists: the last option varies fastest.

        Raises ValueError naming the first combination that makes no sense, and how many there are.
        """
        size = sum(math.prod(map(len, lists.values())) for lists in self.products)
        if size > LIMIT:
            raise ValueError(f"the grid has {size:,} combinations: {LIMIT:,} are the most. Shorten a list.")
        combinations = list(self._combinations())
        hits = [self._excluding(combination) for combination in combinations]
        kept = [combination for combination, found in zip(combinations, hits, strict=True) if not found]
        unused = set(range(len(self.excluded))).difference(*hits)
        configs: Counter[RunConfig] = Counter()
        senseless: list[str] = []
        for options in (options for combination in kept for options in self._overridden(combination)):
            try:
                configs[configure(**options)] += 1
            except ValueError as error:
                senseless.append(f"{self._spelled(options)}: {error}")
            if len(configs) > LIMIT:
                raise ValueError(
                    f"[[override]] makes more than {LIMIT:,} runs of the grid: that is the most."
                )
        if senseless:
            raise ValueError(_complaint(senseless))
        if not configs:
            raise ValueError(
                f"the grid leaves nothing to run: all of its {size:,} combinations are excluded."
            )
        runs = tuple(configs)
        return Plan(
            configs=runs,
            combinations=len(combinations),
            excluded=len(combinations) - len(kept),
            repeated=configs.total() - len(runs),
            varied=_varied(runs),
            remarks=(
                *self._twice(),
                *(f"[[exclude]] {at + 1} agrees with no combination." for at in sorted(unused)),
            ),
        )

    def _combinations(self) -> Iterator[dict[str, Any]]:
        for lists in self.products:
            unique = [dict.fromkeys(values) for values in lists.values()]
            for values in product(*unique):
                yield dict(zip(lists, values, strict=True))

    def _excluding(self, combination: Mapping[str, Any]) -> set[int]:
        """Which of the excluded lists it agrees with."""
        return {at for at, lists in enumerate(self.excluded) if _agree(lists, combination)}

    def _overridden(self, combination: dict[str, Any]) -> list[dict[str, Any]]:
        found = [combination]
        for override in self.overrides:
            found = [other for options in found for other in _set(override, options)]
        return found

    def _spelled(self, options: Mapping[str, Any]) -> str:
        """The options of a combination that do not have one value in all of them."""
        several = {option for lists in self.products for option, values in lists.items() if len(values) > 1}
        several |= {option for override in self.overrides for option in override.set}
        if len(self.products) > 1:
            several |= {option for lists in self.products for option in lists}
        shown = {option: value for option, value in options.items() if option in several} or options
        return ", ".join(f"{option} = {value}" for option, value in shown.items())

    def _twice(self) -> Iterator[str]:
        for lists in self.products:
            for option, values in lists.items():
                for value, count in Counter(values).items():
                    if count > 1:
                        yield f"{named(option)} lists {value} {count} times: once is enough."


def from_options(given: Mapping[str, Sequence[Any]]) -> Grid:
    """Return the grid of options with their values, or texts that list them."""
    return Grid(products=(lists_of(given),))


def lists_of(given: Mapping[str, Any]) -> Lists:
    """Return options with the values that are listed for each. Raises ValueError naming what is wrong."""
    for option in given:
        require_known(option)
    return {option: listed(option, values) for option, values in given.items()}


def _agree(lists: Lists, options: Mapping[str, Any]) -> bool:
    if not all(option in options for option in lists):
        options = {**_defaults(options), **options}
    return all(options[option] in values for option, values in lists.items())


def _defaults(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the options that are not given are, which may depend on those that are."""
    try:
        config = configure(**options)
    except ValueError:
        return PLAIN
    return {option: getattr(config, option) for option in PLAIN}


def _set(override: Override, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not _agree(override.when, options):
        yield options
        return
    for values in product(*override.set.values()):
        yield options | dict(zip(override.set, values, strict=True))


def _varied(configs: Sequence[RunConfig]) -> tuple[str, ...]:
    entries = [config.as_dict() for config in configs]
    return tuple(key for key in entries[0] if any(entry[key] != entries[0][key] for entry in entries))


def _complaint(senseless: Sequence[str]) -> str:
    if len(senseless) == 1:
        return f"a combination makes no sense: {senseless[0]}"
    return f"{len(senseless):,} combinations make no sense, the first: {senseless[0]}"
