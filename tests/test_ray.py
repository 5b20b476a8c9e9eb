"""A run on the nodes of a Ray cluster, each a CPU that stands in for a GPU."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest
from click.testing import CliRunner

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.errors import AttnbenchError, UsageError
from attnbench.provenance.environment import Component
from attnbench.running import ray_cards
from attnbench.running.cards import by_model, check_versions, is_of_run, of_models
from attnbench.running.local_card import LocalCard
from tests.conftest import (
    Attnbench,
    Refused,
    own_environment,
    started,
    wait_for_first_outcome,
    wait_for_sentinels,
)
from tests.fake_worker import FakeDevice
from tests.processes import descendants, exists, named, workers_of
from tests.stored_results import ENVIRONMENT, H100, H200, start
from tests.test_cards import ALL, SWEEP, places

RUN = ["attn", *SWEEP, "--rounds", "2", "--repeats", "3", "--device", "cpu"]


@dataclass
class Cluster:
    """Two nodes."""

    process: "subprocess.Popen[str]"
    address: str

    def change(self, how: Literal["remove", "add"]) -> None:
        """Take the second node away at once, with all that runs there, or add it again."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{how}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == f"{how}\n"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    pytest.importorskip("ray", reason="needs Ray: pip install 'attnbench[cluster]'")
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "TMPDIR": "/tmp"}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.ray_cluster"],
        cwd=Path(__file__).parents[1],
        env=own_environment(tmp_path_factory.mktemp("cluster")) | quiet,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, "the cluster did not start"
        yield Cluster(process, address)


def our_workers(cluster: Cluster) -> list[int]:
    """The worker processes on its nodes."""
    return workers_of(*descendants(cluster.process.pid))


def our_actors(cluster: Cluster) -> list[int]:
    """The processes that started them."""
    return named(b"ray::Remote", descendants(cluster.process.pid))


def test_a_node_lost_in_mid_run_costs_no_outcome_and_doubles_none(
    tmp_path: Path, environment: dict[str, str], cluster: Cluster
) -> None:
    slow = ["--repeats", "1000"]  # Ray takes seconds to find that a node is lost
    with started(tmp_path, environment, *RUN, *slow, "--ray", cluster.address) as process:
        wait_for_first_outcome(process, tmp_path)
        cluster.change("remove")
        _, errors = process.communicate()
    cluster.change("add")
    assert process.returncode == 0, errors
    assert re.search(r"note: \S+ [12] is lost, its unfinished workloads start over: ", errors)
    assert sorted(places(tmp_path)) == sorted(ALL)


def test_a_worker_killed_on_a_node_costs_no_outcome(
    tmp_path: Path, environment: dict[str, str], cluster: Cluster
) -> None:
    slow = ["--repeats", "300"]
    with started(tmp_path, environment, *RUN, *slow, "--ray", cluster.address) as process:
        wait_for_sentinels(process, tmp_path)
        os.kill(our_workers(cluster)[0], signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "its case gets a second try" in errors
    assert sorted(places(tmp_path)) == sorted(ALL)
    names = {line.split("  ")[0] for line in errors.splitlines() if "  round " in line}
    assert len(names) == 2


def test_a_run_whose_actors_are_all_killed_says_why_and_resume_does_the_rest(
    tmp_path: Path, environment: dict[str, str], attnbench: Attnbench, cluster: Cluster
) -> None:
    slow = ["--repeats", "1000"]
    with started(tmp_path, environment, *RUN, *slow, "--ray", cluster.address) as process:
        wait_for_first_outcome(process, tmp_path)
        for actor in our_actors(cluster):
            os.kill(actor, signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == 1, errors
    why = r"\S+ [12]: The actor died unexpectedly before finishing this task"
    assert re.search(rf"Error: no card is left \({why}; {why}\); --resume 1 measures", errors)
    done = attnbench("attn", "--resume", "--ray", cluster.address)
    assert done.returncode == 0, done.stderr
    assert sorted(places(tmp_path)) == sorted(ALL)


def test_after_the_driver_is_killed_resume_does_the_rest(
    tmp_path: Path, environment: dict[str, str], attnbench: Attnbench, cluster: Cluster
) -> None:
    with started(tmp_path, environment, *RUN, "--ray", cluster.address) as process:
        wait_for_first_outcome(process, tmp_path)
        workers = our_workers(cluster)
        process.kill()
    before = places(tmp_path)
    assert 0 < len(before) < len(ALL)
    done = attnbench(*RUN, "--ray", cluster.address, "--resume", "1")
    assert done.returncode == 0, done.stderr
    assert sorted(places(tmp_path)) == sorted(ALL)
    assert sum("  round " in line for line in done.stderr.splitlines()) == len(ALL) - len(before)
    assert not any(map(exists, workers))


def test_without_ray_one_sentence_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    done = CliRunner().invoke(cli, ["attn", "--ray", "--db", str(tmp_path / "r.db")])
    assert done.exit_code == 2
    assert done.output.strip() == (
        "Error: --ray auto needs Ray; install it with pip install 'attnbench[cluster]'"
    )


def test_an_address_without_a_cluster_is_one_clear_error(attnbench: Attnbench) -> None:
    pytest.importorskip("ray")
    done = attnbench(*RUN, "--ray", "127.0.0.1:1")
    assert done.returncode == 2, done.stderr
    assert "Error: --ray 127.0.0.1:1: nothing answers there" in done.stderr
    assert "Traceback" not in done.stderr
    unset = attnbench(*RUN, "--ray", "")
    assert unset.returncode == 2
    assert "Error: Invalid value for '--ray': the value is empty" in unset.stderr


def test_an_address_of_the_environment_without_a_cluster_is_one_too(
    environment: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    nowhere = environment | {"RAY_ADDRESS": "127.0.0.1:1"}
    with started(tmp_path, nowhere, *RUN, "--ray") as process:
        _, errors = process.communicate()
    assert process.returncode == 2
    assert "Error: --ray auto: nothing answers at RAY_ADDRESS=127.0.0.1:1" in errors


@pytest.mark.parametrize("devices", [["cuda:3"], ["cpu", "cpu"], ["cuda:0", "cuda:1"]])
def test_a_device_of_this_host_is_refused_in_a_cluster(
    refused: Refused, devices: list[str]
) -> None:
    message = f"Error: --device {' '.join(devices)} names devices of this host, and --ray "
    assert message in refused("attn", *SWEEP, "--ray", "--device", *devices)


def test_a_cluster_of_this_host_alone_ends_with_the_run_and_leaves_nothing(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """A token at home would keep `--ray auto` from joining clusters that have none."""
    pytest.importorskip("ray")
    home = tmp_path / "home"
    home.mkdir()
    short = environment | {"TMPDIR": "/tmp", "HOME": str(home)}
    with started(tmp_path, short, *RUN, "--rounds", "1", "--ray", "local") as process:
        wait_for_first_outcome(process, tmp_path)
        beneath = descendants(process.pid)
        _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert 2 * len(places(tmp_path)) == len(ALL)
    assert beneath
    assert not any(map(exists, beneath))
    assert list(home.iterdir()) == []


def test_a_cluster_of_this_host_that_does_not_start_is_one_sentence(
    environment: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    with started(tmp_path, environment | {"TMPDIR": str(deep)}, *RUN, "--ray", "local") as process:
        _, errors = process.communicate()
    assert process.returncode == 1
    assert "Error: --ray local: Ray did not start: " in errors
    assert "AF_UNIX path length cannot exceed 107 bytes" in errors
    assert "Traceback" not in errors


def test_what_a_cluster_takes_long_for_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cards, "SOON", 0.001)
    answer, notes = Future[object](), list[str]()
    asked = SimpleNamespace(remote=lambda: SimpleNamespace(future=lambda: answer))
    card = ray_cards.RayCard(ray_cards, SimpleNamespace(greet=asked), "card 1")

    def note(text: str) -> None:
        notes.append(text)
        if len(notes) == 1:
            answer.set_exception(RuntimeError("the node died"))

    with pytest.raises(AttnbenchError, match="the cluster has no card that can measure"):
        ray_cards._started([card], note)
    assert notes == [
        "starting a worker on each card of the cluster, for 0 s so far",
        "card 1 of the cluster is left out: the node died",
    ]


@pytest.fixture
def fleet() -> Iterator[list[LocalCard]]:
    """A card with an older torch, and a card of another model."""
    older = replace(ENVIRONMENT, components={"torch": Component("2.10.0")})
    devices = [
        FakeDevice(machine=H200),
        FakeDevice(machine=replace(H200, gpu_uuid="GPU-3"), environment=older),
        FakeDevice(machine=H100),
    ]
    cards = [
        LocalCard(name, "auto", device.start, print)
        for name, device in zip("abc", devices, strict=True)
    ]
    for card in cards:
        card.greet().result()
    yield cards
    for card in cards:
        card.close()


def test_unequal_software_is_an_error_that_lists_it(fleet: list[LocalCard]) -> None:
    with pytest.raises(UsageError) as error:
        check_versions(fleet)
    assert str(error.value).splitlines() == [
        "the cards have unequal software:",
        "  a: torch 2.11.0",
        "  b: torch 2.10.0",
        "  c: torch 2.11.0",
        "install one version everywhere, or add --mixed, which measures everything with each",
    ]
    check_versions([fleet[0], fleet[2]])


def test_models_and_versions_are_kept_apart(fleet: list[LocalCard]) -> None:
    assert [[card.name for card in some] for some in by_model(fleet)] == [["a"], ["b"], ["c"]]


def test_cards_are_picked_by_words_of_their_model(fleet: list[LocalCard]) -> None:
    assert [card.name for card in of_models(fleet, ["h200"])] == ["a", "b"]
    assert [card.name for card in of_models(fleet, [])] == ["a", "b", "c"]
    with pytest.raises(UsageError, match="--gpu H20: no device is of that model; there are NVIDIA"):
        of_models(fleet, ["H20"])


def test_a_card_goes_on_only_with_a_run_of_its_model_and_versions(
    tmp_path: Path, fleet: list[LocalCard]
) -> None:
    with Store.open(tmp_path / "r.db") as store:
        run = store.run(start(store))
    assert [card.name for card in fleet if is_of_run(card, run)] == ["a"]


@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["measured", "planned"])
def test_a_model_that_the_only_device_is_not_of_is_an_error(
    attnbench: Attnbench, more: list[str]
) -> None:
    done = attnbench(*RUN, "--gpu", "H100", *more)
    assert done.returncode == 2
    assert "Error: --gpu H100: no device is of that model; there are " in done.stderr


def test_a_study_of_traffic_measures_on_the_model_whose_server_it_is_of(
    cluster: Cluster, attnbench: Attnbench, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,100,5\n")
    words = ["study", "traffic", "--trace", "t.csv", "--ray", cluster.address, "--gpu", "H100"]
    done = attnbench(*words, "--device", "cpu", "--backend", "sdpa")
    assert done.returncode == 2
    assert "Error: --gpu h100: no device is of that model; there are " in done.stderr
