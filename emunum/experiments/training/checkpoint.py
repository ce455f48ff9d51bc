"""Checkpoints: one file from which a run goes on to the weights it would have had anyway.

A NumPy archive without pickles: each array of the network and of the optimizer under "kind/layer/name",
everything else as JSON in "header", and in "sha256" the digest of all of these, so that a file that is torn
or was changed is recognised.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import emunum
from emunum.experiments.config import RunConfig
from emunum.experiments.training.state import Best, EpochRecord, State
from emunum.nn.layers import Params
from emunum.ops.strict import plain

CHECKPOINT_VERSION = 1
_DAMAGE = (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError)
_COUNTED = (
    "steps",
    "updates",
    "epoch",
    "position",
    "losses",
    "skipped",
    "wall_s",
    "events",
    "overflows",
    "diverged",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A run between two steps, its arrays NumPy's.

    `history` has the epochs before the one under way, `wall_s` the time spent on the run so far, `started`
    when it began and `resumed` how often it was taken up again.
    """

    config: RunConfig
    data_sha256: str
    state: State
    history: tuple[EpochRecord, ...]
    wall_s: float
    started: str
    resumed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """When a checkpoint is due: after so many steps or so many minutes, whichever comes first."""

    steps: int | None = None
    minutes: float | None = 5.0

    def due(self, steps: int, seconds: float) -> bool:
        """Whether one is due so many steps and seconds after the last."""
        by_steps = self.steps is not None and steps >= self.steps
        return by_steps or (self.minutes is not None and seconds >= 60 * self.minutes)


def encode(checkpoint: Checkpoint) -> bytes:
    """Return the content of a checkpoint's file."""
    state, best = checkpoint.state, checkpoint.state.best
    arrays: dict[str, NDArray[Any]] = {}
    for kind, layers in (("params", state.params), ("optimizer", state.optimizer)):
        arrays |= _flattened(kind, layers)
    if best:
        arrays |= _flattened("best", best.params)
    header = {
        "checkpoint_version": CHECKPOINT_VERSION,
        "emunum_version": emunum.__version__,
        "config": checkpoint.config.as_dict(),
        "config_sha256": checkpoint.config.sha256,
        "data_sha256": checkpoint.data_sha256,
        "layers": len(state.params),
        "state": {name: getattr(state, name) for name in _COUNTED},
        "scale": asdict(state.scale),
        "best": best and {"epoch": best.epoch, "loss": best.loss, "accuracy": best.accuracy},
        "history": [asdict(epoch) for epoch in checkpoint.history],
        "wall_s": checkpoint.wall_s,
        "started": checkpoint.started,
        "resumed": checkpoint.resumed,
    }
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    archive = io.BytesIO()
    np.savez(archive, allow_pickle=False, **arrays, sha256=_digest(arrays))
    return archive.getvalue()


def read_checkpoint(path: Path, config: RunConfig, start: State) -> Checkpoint:
    """Return the checkpoint at `path` of the run of `config`, whose state before the first step is `start`.

    Raises FileNotFoundError where there is none, and ValueError, which names the remedy, where it is
    damaged, or was written by another version of emunum or for another configuration.
    """
    content = path.read_bytes()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        found = arrays.pop("sha256")
        if not np.array_equal(found, _digest(arrays)):
            raise ValueError("its content does not have its checksum")
        header = json.loads(arrays.pop("header").tobytes())
    except _DAMAGE as error:
        raise ValueError(
            f"{path} is damaged: {error}. Remove it, and the run starts over from its config.json."
        ) from None
    _require_same(path, header, config)
    return _decoded(header, arrays, config, start)


def _require_same(path: Path, header: Mapping[str, Any], config: RunConfig) -> None:
    version, ours = header["checkpoint_version"], header["emunum_version"]
    if (version, ours) != (CHECKPOINT_VERSION, emunum.__version__):
        raise ValueError(
            f"{path} was written by emunum {ours} (checkpoints of version {version}), and this is "
            f"{emunum.__version__} ({CHECKPOINT_VERSION}), whose bits may be others. Resume it with emunum "
            f"{ours}, or remove it to start over."
        )
    if header["config_sha256"] != config.sha256:
        theirs, own = header["config"], config.as_dict()
        field = next((name for name in own if theirs.get(name) != own[name]), "a field")
        raise ValueError(
            f"{path} belongs to another configuration: its {field} is {theirs.get(field)!r}, config.json has "
            f"{own.get(field)!r}. Restore config.json, or remove the checkpoint to start over."
        )


def _decoded(
    header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], config: RunConfig, start: State
) -> Checkpoint:
    layers, kept = header["layers"], header["best"]
    best = Best(**kept, params=_nested("best", layers, arrays)) if kept else None
    counted = header["state"] | {name: tuple(header["state"][name]) for name in ("losses", "events")}
    state = replace(
        start,
        params=_nested("params", layers, arrays),
        optimizer=_nested("optimizer", layers, arrays),
        scale=replace(start.scale, **header["scale"]),
        best=best,
        **counted,
    )
    history = [
        EpochRecord(**epoch | {name: tuple(epoch[name]) for name in ("step_loss", "events")})
        for epoch in header["history"]
    ]
    kept = {name: header[name] for name in ("data_sha256", "wall_s", "started", "resumed")}
    return Checkpoint(config=config, state=state, history=tuple(history), **kept)


def _flattened(kind: str, layers: Iterable[Params]) -> dict[str, NDArray[Any]]:
    return {f"{kind}/{index}/{name}": plain(w) for index, own in enumerate(layers) for name, w in own.items()}


def _nested(kind: str, layers: int, arrays: Mapping[str, NDArray[Any]]) -> list[Params]:
    """The arrays of a kind by layer, in the archive's order: it decides which random bits are whose."""
    nested: list[Params] = [{} for _ in range(layers)]
    for path, w in arrays.items():
        of, index, name = path.split("/", 2)
        if of == kind:
            nested[int(index)][name] = w
    return nested


def _digest(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return np.frombuffer(digest.digest(), np.uint8)
