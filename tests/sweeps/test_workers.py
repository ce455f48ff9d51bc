"""Who computes the runs of a sweep: the same records everywhere, and a worker that dies costs no run."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
from kill_and_resume import lasting
from kill_sweeps import cluster

import emunum
from emunum.experiments.config import RunConfig
from emunum.experiments.run import execute
from emunum.experiments.sweeps import local
from emunum.experiments.sweeps.cluster import DaskCluster
from emunum.experiments.sweeps.ledger import Ledger, read
from emunum.experiments.sweeps.local import LocalProcesses
from emunum.experiments.sweeps.schedule import Sweep, unfinished
from emunum.experiments.sweeps.workers import Job, ThisProcess, WorkersError
from emunum.experiments.training.state import EpochRecord

pytestmark = pytest.mark.usefixtures("threads")
Record = Mapping[str, Any]


def toys(count: int, epochs: int = 2, **options: Any) -> list[RunConfig]:
    given = {"dataset": "toy", "format": "e4m3", "rounding": "stochastic", "epochs": epochs} | options
    return [RunConfig(**given, seed=seed) for seed in range(count)]


def same_every_time(records: Sequence[Record]) -> dict[str, Any]:
    return {
        record["run_id"]: lasting(dict(record)) | {"history": [lasting(epoch) for epoch in record["history"]]}
        for record in records
    }


def serial(configs: Sequence[RunConfig]) -> dict[str, Any]:
    return same_every_time(list(ThisProcess(Job()).results(configs)))


# ----------------------------------------------------------------------------------------------------
# One run
# ----------------------------------------------------------------------------------------------------


def test_a_line_is_the_record_of_the_run_and_its_history() -> None:
    config = RunConfig(dataset="toy", epochs=3, validation_split=0.25)
    epochs: list[EpochRecord] = []
    expected = execute(config, on_epoch=epochs.append)
    [record] = ThisProcess(Job()).results([config])
    assert lasting({key: value for key, value in record.items() if key != "history"}) == lasting(expected)
    assert [lasting(entry) for entry in record["history"]] == [
        {
            "epoch": epoch.epoch,
            "train_loss": epoch.train_loss,
            "validation_loss": epoch.validation_loss,
            "validation_accuracy": None,
        }
        for epoch in epochs
    ]
    assert all(entry["wall_s"] > 0 for entry in record["history"])
    assert record["threads"] == 1


def test_events_are_summed_over_epochs_and_places() -> None:
    [config] = toys(1, epochs=3, rounding="nearest")
    expected: Counter[str] = Counter()

    def count(epoch: EpochRecord) -> None:
        for row in epoch.events:  # names are texts, errors are floats, counts are neither
            expected.update({key: count for key, count in row.items() if isinstance(count, int)})

    weights = execute(config, events=True, on_epoch=count)["weights_sha256"]
    [record] = ThisProcess(Job(events=True)).results([config])
    assert record["events"] == expected
    assert sum(expected.values()) > 0
    [without] = ThisProcess(Job()).results([config])
    assert "events" not in without
    assert record["weights_sha256"] == without["weights_sha256"] == weights


def test_a_run_that_cannot_be_done_is_recorded_and_the_rest_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMUNUM_CACHE", str(tmp_path / "cache"))
    lost = RunConfig(dataset="mnist", epochs=1)
    configs = [toys(1)[0], lost, *toys(2)[1:]]
    with Ledger(tmp_path) as ledger:
        sweep = Sweep(total=3, todo=3)
        records = list(sweep.run(configs, ThisProcess(Job(data_dir=tmp_path / "empty")), ledger))
    assert [record["status"] for record in records] == ["completed", "failed", "completed"]
    assert (sweep.done, sweep.failed, sweep.diverged, sweep.left) == (3, 1, 0, 0)
    assert records == read(tmp_path)
    started, reason = records[1].pop("started"), records[1].pop("reason")
    assert records[1] == {
        "schema_version": 1,
        "run_id": lost.run_id,
        **lost.as_dict(),
        "status": "failed",
    }
    assert reason.startswith("ValueError: ") and "\n" not in reason
    assert started.startswith("20")
    assert sweep.last_reason == reason


def test_what_is_finished_is_left_alone_and_what_failed_is_not() -> None:
    configs = toys(4)
    done, diverged, failed, _ = [{"run_id": config.run_id} for config in configs]
    done["status"], diverged["status"], failed["status"] = "completed", "diverged", "failed"
    records = {record["run_id"]: record for record in (done, diverged, failed)}
    assert unfinished(configs, records) == configs[2:]
    assert unfinished(configs, records, events=True) == configs
    records[configs[0].run_id] = done | {"events": {}}
    assert unfinished(configs, records, events=True) == configs[1:]


# ----------------------------------------------------------------------------------------------------
# Processes
# ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is POSIX's")
def test_the_run_of_a_process_that_is_killed_is_begun_again() -> None:
    configs = [*toys(1), *toys(2, epochs=400)[1:]]
    found = []
    with LocalProcesses(1, Job()) as workers:
        for record in workers.results(configs):
            found.append(record)
            if len(found) == 1:  # the second is being computed
                [(run_id, where)] = workers.running.items()
                assert run_id == configs[1].run_id
                os.kill(int(where.removeprefix("process ")), signal.SIGKILL)
    assert workers.repeated == 1
    assert same_every_time(found) == serial(configs)
    assert workers.running == {}


class Fragile:
    """An executor whose process dies of certain runs; `idle` ones die without any."""

    deadly: frozenset[str] = frozenset()
    idle = 0
    born = 0

    def __init__(self, **options: Any) -> None:
        type(self).born += 1
        self._broken = False

    def submit(self, function: Any, options: dict[str, Any], **job: Any) -> Future[dict[str, Any]]:
        if self._broken:
            raise BrokenProcessPool("it died")
        future: Future[dict[str, Any]] = Future()
        run_id = RunConfig(**options).run_id
        if run_id in self.deadly:
            future.set_exception(BrokenProcessPool("The exit codes of the workers are {SIGSEGV(-11)}"))
        else:
            future.set_result({"run_id": run_id, "status": "completed"})
            self._broken = type(self).idle > 0
            type(self).idle -= self._broken
        return future

    def shutdown(self, kill_workers: bool) -> None:
        assert kill_workers


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> type[Fragile]:
    made = type("MadeFragile", (Fragile,), {})
    monkeypatch.setattr(local, "ProcessPoolExecutor", made)
    return made


def test_a_run_that_brings_three_processes_down_has_failed(fragile: type[Fragile]) -> None:
    configs = toys(6)
    fragile.deadly = frozenset({configs[2].run_id})
    with LocalProcesses(2, Job()) as workers:
        found = {record["run_id"]: record for record in workers.results(configs)}
    assert workers.repeated == 2
    assert fragile.born == 2 + 2  # nothing is left to do once the third has died
    failed = found.pop(configs[2].run_id)
    assert (failed["status"], failed["seed"]) == ("failed", 2)
    assert failed["reason"] == "3 workers died of it, the last with exit code SIGSEGV(-11)"
    assert {record["status"] for record in found.values()} == {"completed"}
    assert len(found) == 5


def test_a_process_that_dies_with_nothing_to_do_is_replaced(fragile: type[Fragile]) -> None:
    fragile.idle = 2
    with LocalProcesses(1, Job()) as workers:
        found = [record["run_id"] for record in workers.results(toys(4))]
    assert found == [config.run_id for config in toys(4)]
    assert (workers.repeated, fragile.born) == (0, 3)


# ----------------------------------------------------------------------------------------------------
# A cluster
# ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is POSIX's")
def test_a_cluster_that_loses_a_worker_gives_the_records_of_a_serial_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed", reason="distributed, of the extra cluster, is not installed")
    lost = RunConfig(dataset="mnist", epochs=1)
    diverging = toys(4, format="float32", rounding="nearest", learning_rate=1e30)
    configs = [lost, *toys(6, epochs=150), *diverging]
    seen = set()
    with cluster(tmp_path, 2) as (address, processes):
        job = Job(data_dir=tmp_path)
        with DaskCluster(address, job) as workers, Ledger(tmp_path) as ledger:
            while len(workers._client.nthreads()) < 2:
                time.sleep(0.02)
            for number, _ in enumerate(Sweep(total=11, todo=11).run(configs, workers, ledger)):
                seen |= set(workers.running.values())
                if number == 3:
                    os.kill(processes[0].pid, signal.SIGKILL)
        assert processes[0].wait() == -signal.SIGKILL
    assert len(seen) == 2  # both had something to do
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 11
    found = {record["run_id"]: record for record in read(tmp_path)}
    failed = found.pop(lost.run_id)
    assert (failed["status"], failed["dataset"]) == ("failed", "mnist")
    assert failed["reason"].startswith("ValueError: ")
    assert Counter(record["status"] for record in found.values()) == {"completed": 6, "diverged": 4}
    assert same_every_time(list(found.values())) == serial(configs[1:])


class Elsewhere:
    """A client whose workers answer so."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def run(self, function: object, on_error: str) -> dict[str, object]:
        assert on_error == "return"
        return {"tcp://near:1": emunum.__version__, "tcp://far:2": self._answer}


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (
            ModuleNotFoundError("No module named\n'emunum'"),
            "worker tcp://far:2 cannot load emunum: No module named 'emunum'. Install it there",
        ),
        (
            "0.0.7",
            f"worker tcp://far:2 has emunum 0.0.7, and this is {emunum.__version__}. Install the same there",
        ),
    ],
    ids=["none", "another"],
)
def test_workers_that_could_compute_other_bits_are_refused(answer: object, complaint: str) -> None:
    workers = DaskCluster("tcp://near:0", Job())
    workers._client = Elsewhere(answer)
    with pytest.raises(WorkersError) as error:
        workers._require_versions()
    assert str(error.value) == complaint


def test_a_scheduler_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="distributed, of the extra cluster, is not installed")
    monkeypatch.setattr("emunum.experiments.sweeps.cluster._CONNECT_S", 0.2)
    for address in ("tcp://127.0.0.1:1", "nonsense://127.0.0.1:1"):
        with pytest.raises(WorkersError) as error, DaskCluster(address, Job()):
            pass
        assert str(error.value).startswith(f"no scheduler answers at {address}: ")
        assert "\n" not in str(error.value)


def test_without_distributed_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(WorkersError) as error, DaskCluster("tcp://127.0.0.1:1", Job()):
        pass
    assert str(error.value) == (
        "a Dask cluster needs distributed, which is not installed: pip install 'emunum[cluster]'"
    )
