"""Following a plan from rows to a bundle that answers, for every kind of candidate."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import time
from contextlib import suppress
from functools import partial

import numpy as np
import psutil
import pytest
from conftest import stored

from sartor import bundle as bundles
from sartor import follow, forkserver, predict
from sartor.errors import InputError, SartorError
from sartor.plan import Move, Plan
from sartor.task import classify

PLANS = {
    "majority": [Move("start", {"backbone": "trivial", "leaf": "trivial"}), Move("fit", {}), Move("export", {})],
    "ngram": [Move("start", {"backbone": "ngram", "leaf": "ngram"}), Move("fit", {}), Move("export", {})],
    "frozen": [Move("start", {"backbone": "minilm", "max_tokens": 32}), Move("fit", {}), Move("export", {})],
    "tuned": [
        Move("start", {"backbone": "minilm", "max_tokens": 32}),
        Move("fit", {}),
        Move("train", {"epochs": 1}),
        Move("export", {}),
        Move("quantise", {}),
    ],
}


@pytest.fixture(scope="module")
def built(opinions_csv, tmp_path_factory):
    """Every plan followed once: (bundles by name, test examples, settings)."""
    folder = tmp_path_factory.mktemp("build")
    dataset, splits, settings = stored(opinions_csv, folder)
    settings |= {"threads": 2}
    found = {name: follow.follow(Plan(name, tuple(moves)), **settings) for name, moves in PLANS.items()}
    return found, classify.examples(dataset, splits.test, "label"), settings


def accuracy(bundle, test):
    answers = predict.load(bundle.path).predict(list(test.inputs))
    return np.mean([a["label"] == t for a, t in zip(answers, test.targets["label"], strict=True)])


def at_work():
    """The processes in which steps run: those that a server forked for this process, or that were started anew."""
    found = []
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile
            found += [one] if "sartor.child" in one.cmdline() or one.ppid() != os.getpid() else []
    return found


@pytest.mark.parametrize("name", ["ngram", "frozen", "tuned"])
def test_a_candidate_beats_the_majority(built, name):
    found, test, _ = built
    assert accuracy(found[name], test) > accuracy(found["majority"], test) + 0.2


@pytest.mark.parametrize("name", list(PLANS))
def test_answers_do_not_depend_on_the_rows_beside_them(built, name):
    found, test, _ = built
    predictor = predict.load(found[name].path)
    rows = [*list(test.inputs)[:13], {"text": "x"}, {"text": ""}, {"text": "fine " * 60}]
    single = [predictor.predict([row])[0]["probabilities"] for row in rows]
    for size in (4, 16):
        for begin in range(0, len(rows), size):
            together = predictor.answer([predictor.prepare(row) for row in rows[begin : begin + size]])
            for answer, alone in zip(together, single[begin : begin + size], strict=True):
                assert answer["probabilities"] == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("name", ["majority", "ngram", "frozen"])
def test_float_graphs_answer_as_torch_does(built, name):
    found, test, _ = built
    rows = list(test.inputs)[:40]
    served = predict.load(found[name].path).predict(rows)
    trained = predict.load(found[name].path, runtime="torch").predict(rows)
    for one, other in zip(served, trained, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-4)


def test_plans_that_begin_alike_share_their_prefix(built):
    found, _, settings = built
    heard = []
    follow.follow(Plan("frozen", tuple(PLANS["frozen"])), **settings, events=heard.append)
    assert [item["status"] for item in heard] == ["cached"]
    more = Plan("frozen int8", (*PLANS["frozen"], Move("quantise", {})))
    heard.clear()
    smaller = follow.follow(more, **settings, events=heard.append)
    assert [item["step"] for item in heard if item.get("status") == "start"] == ["quantise"]
    assert smaller.deployed_bytes() < 0.35 * found["frozen"].deployed_bytes()


def test_a_corrupt_cached_prefix_is_made_again(built):
    _, _, settings = built
    plan = Plan("ngram", tuple(PLANS["ngram"]))
    before = follow.follow(plan, **settings)
    (before.path / "processor" / "idf.npy").write_bytes(b"broken")
    after = follow.follow(plan, **settings)
    assert not bundles.changed(after.path)
    assert after.digest == before.digest if before.path != after.path else True


def test_same_plan_and_seed_give_bit_equal_weights(built, tmp_path, monkeypatch):
    found, _, settings = built
    monkeypatch.setattr(forkserver, "_can_fork", lambda: False)  # as in a process that is started anew
    again = follow.follow(Plan("tuned", tuple(PLANS["tuned"])), **settings | {"cache": tmp_path / "other"})
    one, other = (b.manifest["files"]["model.safetensors"]["sha256"] for b in (found["tuned"], again))
    assert one == other


@pytest.fixture
def servers(monkeypatch):
    """The servers that were started for this test, of which there are none yet."""
    if not forkserver._can_fork():
        pytest.skip("no process can be forked for another one here")
    monkeypatch.setenv("SARTOR_DEVICE", "cpu")
    forkserver._close()
    yield forkserver._servers
    forkserver._close()


def test_each_plan_has_a_process_of_its_own_of_one_server(built, tmp_path, servers):
    _, _, settings = built
    seen = []

    def listen(item):
        if item["event"] == "step" and item["status"] == "start" and item["step"] == "fit":
            seen.extend(at_work())

    for name in ("one", "two"):
        plan = Plan("ngram", tuple(PLANS["ngram"][:2]))
        follow.follow(plan, **settings | {"cache": tmp_path / name, "events": listen})
    [server] = servers.values()
    assert server._process.poll() is None
    assert len({one.pid for one in seen}) == len(seen) == 2
    assert not at_work()


def test_what_the_environment_says_to_libraries_is_heeded(built, tmp_path, monkeypatch, servers):
    _, _, settings = built
    plan = Plan("ngram", tuple(PLANS["ngram"][:2]))
    follow.follow(plan, **settings | {"cache": tmp_path / "one"})
    [first] = servers.values()
    monkeypatch.setenv("SARTOR_STATE", str(tmp_path / "elsewhere"))
    follow.follow(plan, **settings | {"cache": tmp_path / "two"})
    assert list(servers.values()) == [first]
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    follow.follow(plan, **settings | {"cache": tmp_path / "three"})
    assert list(servers.values()) != [first]
    assert first._process.poll() is not None


def test_a_server_that_is_killed_is_no_end_of_the_build(built, tmp_path, servers):
    _, test, settings = built
    heard = []

    def listen(item):
        heard.append(item)
        if item["event"] == "step" and item["status"] == "start" and item["step"] == "fit" and len(servers) == 1:
            [server] = servers.values()
            if server._process.poll() is None and not any(one["event"] == "log" for one in heard):
                server._process.kill()

    plan = Plan("ngram", tuple(PLANS["ngram"]))
    for name in ("one", "two"):
        found = follow.follow(plan, **settings | {"cache": tmp_path / name, "events": listen})
        assert accuracy(found, test) > 0.7
    assert [item["code"] for item in heard if item["event"] == "log"] == ["plan.step-failed"]
    [server] = servers.values()
    server._process.kill()  # between two processes nobody is hurt
    server._process.wait()
    assert accuracy(follow.follow(plan, **settings | {"cache": tmp_path / "three"}), test) > 0.7


@pytest.fixture
def waiting(tmp_path):
    """Starts a process whose job is never told to it, so that it waits for ever."""
    os.mkfifo(tmp_path / "job")
    with (tmp_path / "errors").open("wb") as errors:
        yield partial(forkserver.start, tmp_path / "job", opens=[], errors=errors, environment=os.environ)


def test_what_was_forked_a_moment_ago_ends_when_it_is_told_to(servers, waiting):
    for _ in range(5):
        child = waiting()
        assert isinstance(child, forkserver.Forked)
        child.terminate()
        assert child.wait(20) == -signal.SIGTERM
    child = waiting()
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.01)
    child.kill()
    assert child.wait(20) == child.wait() == -signal.SIGKILL
    child.kill()  # of one that has ended nothing comes
    assert len(servers) == 1


def test_a_server_that_hangs_takes_no_longer_than_it_may(servers, waiting):
    child = waiting()
    child.kill()
    child.wait()
    [server] = servers.values()
    server._process.send_signal(signal.SIGSTOP)
    child = waiting(timeout_s=0.5)
    assert isinstance(child, subprocess.Popen)
    child.kill()
    child.wait()
    child.stdout.close()
    assert server.ended
    child = waiting()
    assert isinstance(child, forkserver.Forked)
    child.kill()
    child.wait()


def test_whoever_is_interrupted_while_the_server_works_leaves_nothing_at_work(servers, waiting, monkeypatch):
    real = forkserver.Forked

    def interrupted(*_):
        raise KeyboardInterrupt

    before = psutil.Process().num_fds()
    monkeypatch.setattr(forkserver, "Forked", interrupted)
    with pytest.raises(KeyboardInterrupt):
        waiting()
    monkeypatch.setattr(forkserver, "Forked", real)
    assert not at_work()
    assert psutil.Process().num_fds() <= before
    child = waiting()
    child.kill()
    assert child.wait() == -signal.SIGKILL


def test_many_open_files_are_no_trouble(servers, waiting):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1_300:
        pytest.skip("so many files cannot be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1_300), hard))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1_100)]
    try:
        child = waiting()
        child.kill()
        assert child.wait() == -signal.SIGKILL
    finally:
        for file in files:
            os.close(file)
        forkserver._close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_of_two_threads_none_waits_for_the_server_of_the_other(built, tmp_path, servers):
    from concurrent.futures import ThreadPoolExecutor

    _, test, settings = built
    plan = Plan("ngram", tuple(PLANS["ngram"]))
    with ThreadPoolExecutor(2) as pool:
        work = [pool.submit(follow.follow, plan, **settings | {"cache": tmp_path / name}) for name in ("one", "two")]
        assert all(accuracy(one.result(), test) > 0.7 for one in work)


def test_another_seed_gives_other_weights(built, tmp_path):
    found, _, settings = built
    made_of = settings["made_of"] | {"seed": 1}
    other = follow.follow(
        Plan("tuned", tuple(PLANS["tuned"])), **settings | {"cache": tmp_path / "other", "made_of": made_of}
    )
    one, two = (b.manifest["files"]["model.safetensors"]["sha256"] for b in (found["tuned"], other))
    assert one != two


def test_a_build_that_is_stopped_saves_at_the_next_step_and_goes_on_from_there(built, tmp_path):
    _, _, settings = built
    moves = [*PLANS["tuned"][:2], Move("train", {"epochs": 3})]
    plan = Plan("tuned for longer", tuple(moves))
    whole = follow.follow(plan, **settings)
    heard = []

    def listen(item):
        heard.append(item)
        if item["event"] == "epoch" and not any(one.get("status") == "resumed" for one in heard):
            raise KeyboardInterrupt  # what Ctrl-C and SIGTERM are to the parent

    settings = settings | {"cache": tmp_path / "other", "events": listen}
    with pytest.raises(KeyboardInterrupt):
        follow.follow(plan, **settings)
    assert not at_work()
    again = follow.follow(plan, **settings)
    resumed = [item for item in heard if item.get("status") == "resumed"]
    first = next(item for item in heard if item["event"] == "epoch")
    assert [item["done"] >= first["step"] for item in resumed] == [True]  # not where the first epoch began
    one, other = (b.manifest["files"]["model.safetensors"]["sha256"] for b in (whole, again))
    assert one == other


@pytest.mark.parametrize("times", [1, 3])
def test_a_worker_that_is_killed_goes_on_with_smaller_pieces_or_is_given_up(built, tmp_path, times):
    """As the kernel does when memory runs out."""
    _, test, settings = built
    heard, killed = [], []

    def listen(item):
        heard.append(item)
        training = item["event"] == "step" and item.get("step") == "train" and item["status"] == "start"
        if training and len(killed) < times:
            for child in at_work():
                child.kill()
            killed.append(item)

    plan = Plan("tuned", tuple(PLANS["tuned"][:3]))
    settings = settings | {"cache": tmp_path / "other", "events": listen}
    if times == 3:
        with pytest.raises(SartorError) as caught:
            follow.follow(plan, **settings)
        assert caught.value.code == "plan.step-failed"
        assert "signal 9" in str(caught.value)
    else:
        assert accuracy(follow.follow(plan, **settings), test) > 0.7
    told = [item["message"] for item in heard if item["event"] == "log"]
    assert [message.rsplit(", ", 1)[1] for message in told] == ["each batch in 2 pieces", "each batch in 4 pieces"][
        :times
    ]


def test_a_worker_that_hangs_is_ended_when_its_time_is_over(built, tmp_path):
    _, _, settings = built
    stopped = []

    def listen(item):
        if item["event"] == "step" and item.get("step") == "train" and item["status"] == "start":
            stopped.extend(at_work())
            for child in stopped:
                child.suspend()

    settings = settings | {"cache": tmp_path / "other", "events": listen, "timeout_s": 20.0}
    began = time.monotonic()
    with pytest.raises(SartorError, match="the time that was left"):
        follow.follow(Plan("tuned", tuple(PLANS["tuned"][:3])), **settings)
    assert stopped
    assert time.monotonic() - began < 60  # not for ever
    assert not any(child.is_running() for child in stopped)


def test_bundle_of_an_encoder_opens_in_transformers(built):
    transformers = pytest.importorskip("transformers")
    found, _, _ = built
    model = transformers.AutoModel.from_pretrained(found["tuned"].path, local_files_only=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(found["tuned"].path / "processor", local_files_only=True)
    states = model(**tokenizer("the plot was superb", return_tensors="pt")).last_hidden_state
    assert states.shape[-1] == model.config.hidden_size


def test_frozen_bundle_names_its_base_weights_instead_of_copying_them(built):
    found, _, _ = built
    meta = json.loads((found["frozen"].path / "bundle.json").read_text())
    assert meta["backbone"]["sha256"]
    assert (found["frozen"].path / "model.safetensors").stat().st_size < 100_000


def test_a_list_of_steps_that_cannot_work_is_refused_before_any_compute(tmp_path):
    plan = Plan("wrong", (Move("start", {"backbone": "trivial", "leaf": "trivial"}), Move("quantise", {})))
    with pytest.raises(InputError) as caught:
        follow.follow(plan, data=tmp_path, cache=tmp_path / "cache", made_of={"seed": 0}, threads=1)
    assert caught.value.code == "plan.forms"
    assert not (tmp_path / "cache").exists()
