"""The real server process on a real bundle, as its clients see it."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from conftest import stored

from sartor import bundle as bundles
from sartor import follow, measure, predict
from sartor.plan import Move, Plan
from sartor.serve import MAX_BODY_BYTES
from sartor.serve.app import MAX_ROWS
from sartor.task import classify

NAME = "opinions"
NEED = {"unit": "", "setting": "", "advice": "", "confidence": 0.95, "n": 100, "verdict": "met"}
NEEDS = [
    NEED | {"need": "accuracy >= 0.8", "measure": "accuracy", "op": ">=", "limit": 0.8, "measured": 0.9, "low": 0.85, "high": 0.95},
    NEED
    | {"need": "latency_p95 <= 60 s", "measure": "latency_p95", "op": "<=", "limit": 60_000.0, "unit": "ms"}
    | {"measured": 1.0, "low": 0.9, "high": 1.1},
    NEED | {"need": "memory <= 1 MB", "measure": "memory", "op": "<=", "limit": 1.0, "unit": "MB", "verdict": "missed"},
]  # fmt: skip


@pytest.fixture(scope="module")
def built(opinions_csv, tmp_path_factory):
    """A finished bundle with a name, examples and a report; and test rows."""
    folder = tmp_path_factory.mktemp("serve")
    dataset, splits, settings = stored(opinions_csv, folder)
    moves = (Move("start", {"backbone": "ngram", "leaf": "ngram"}), Move("fit", {}), Move("export", {}))
    made = follow.follow(Plan("ngram", moves), **settings, threads=1)
    rows = list(classify.examples(dataset, splits.test, "label").inputs)
    with bundles.writing(folder / NAME) as target:
        shutil.copytree(made.path, target, dirs_exist_ok=True)
        (target / bundles.MANIFEST).unlink()
        bundles.write_json(target / "bundle.json", made.meta | {"name": NAME, "examples": rows[:4]})
        bundles.write_json(target / "report.json", {"exit": 3, "needs": NEEDS})
    return folder / NAME, rows


@pytest.fixture(scope="module")
def server(built):
    """The address of one server that the tests share."""
    with measure.served(built[0], threads=1) as address:
        yield address


@pytest.fixture(scope="module")
def locked(built):
    """A server that has two keys."""
    with measure.served(built[0], threads=1, keys="right, other") as address:
        yield address


@pytest.fixture
def client(server):
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as client:
        yield client


@pytest.fixture
def spawned():
    """A function that starts a server of its own; none outlives the test."""
    children = []

    def start(path):
        command = [sys.executable, "-m", "sartor.serve", str(path), "--port", "0"]
        children.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.communicate()


def raw(server, data):
    """The status and everything else that comes back to bytes sent as they are."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(data)
        return answered(connection)


def answered(connection):
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.headers, response.read()


def counted(client):
    """{sample: value} of the metrics."""
    lines = client.get("/metrics").text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_one_row_gets_one_answer_as_the_predictor_gives_it(client, built):
    path, rows = built
    expected = predict.load(path).predict(rows[:1])[0]
    answer = client.post("/predict", json=rows[0])
    assert answer.status_code == 200
    assert answer.json()["label"] == expected["label"]
    assert answer.json()["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)
    assert client.post("/predict", json=rows[0]["text"]).json() == answer.json()


def test_many_rows_are_answered_in_order_and_a_bad_one_harms_no_other(client, built):
    path, rows = built
    expected = [answer["probabilities"] for answer in predict.load(path).predict(rows[:40])]
    answers = client.post("/predict", json={"rows": [*rows[:20], {"text": 7}, *rows[20:40]]}).json()["answers"]
    assert answers[20]["error"]["code"] == "row.bad-value"
    del answers[20]
    for answer, probabilities in zip(answers, expected, strict=True):
        assert answer["probabilities"] == pytest.approx(probabilities, abs=1e-5)
    assert client.post("/predict", json={"rows": []}).json() == {"answers": []}


def test_a_bad_row_alone_is_422_and_names_what_is_wrong(client):
    answer = client.post("/predict", json={"txt": "a"})
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "row.missing-column"
    assert "'text'" in answer.json()["error"]["message"]


def test_concurrent_clients_get_the_answers_of_their_own_rows(server, built):
    path, rows = built
    texts = [{"text": f"{rows[i % len(rows)]['text']} number {i}" + " more" * (i % 60)} for i in range(1000)]
    predictor = predict.load(path)
    expected = [predictor.predict([row])[0]["probabilities"] for row in texts]
    found: list = [None] * len(texts)

    def one(number):
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as client:
            for i in range(number, len(texts), 16):
                found[i] = client.post("/predict", json=texts[i]).json()["probabilities"]

    crowd = [threading.Thread(target=one, args=(number,)) for number in range(16)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    for probabilities, alone in zip(found, expected, strict=True):
        assert probabilities == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b'{"text": "a"',
        b'{"text": NaN}',
        b'{"text": 1e999}',
        b'{"text": "a", "text": "b"}',
        b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"text": "\xff"}',
        b'{"text": ' + b"9" * 9999 + b"}",
    ],
    ids=["empty", "words", "cut", "nan", "infinite", "twice", "nested", "not-utf8", "digits"],
)
def test_what_is_not_json_is_400(client, body):
    answer = client.post("/predict", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "request.json")


@pytest.mark.parametrize("text", ["", "\x00", "\ud800", "🙂" * 2000, "a" * 100_000, "ﷺ" * 2000, " \n\t"])
def test_any_text_is_answered(client, text):
    answer = client.post("/predict", content=json.dumps({"text": text}))
    assert answer.status_code == 200
    assert sum(answer.json()["probabilities"].values()) == pytest.approx(1)


def test_a_body_over_the_cap_is_413_however_it_comes_and_the_answer_arrives(client):
    large = b'{"text": "' + b"a" * (MAX_BODY_BYTES + 1_000_000) + b'"}'
    for content in (large, (large[i : i + 50_000] for i in range(0, len(large), 50_000))):
        answer = client.post("/predict", content=content)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request.too-large")
        assert answer.headers["connection"] == "close"
    assert client.post("/predict", json={"text": "fine"}).status_code == 200


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(server):
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {10**12}\r\n\r\n"
    status, headers, _ = raw(server, head.encode())
    assert (status, headers["connection"]) == (413, "close")


def test_too_many_rows_are_413(client):
    answer = client.post("/predict", json={"rows": ["a"] * (MAX_ROWS + 1)})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request.too-many-rows")


def test_compressed_bodies_are_refused(client):
    answer = client.post("/predict", content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "request.encoding")


def test_a_head_without_end_is_cut_off(server):
    status, _, _ = raw(server, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 1_000_000)
    assert status == 400


def test_a_connection_lives_on_after_an_error(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.connect()
    used = connection.sock
    for body, status in ((b"not json", 400), (b'{"text": 1}', 422), (b'{"text": "a"}', 200)):
        connection.request("POST", "/predict", body)
        response = connection.getresponse()
        response.read()
        assert response.status == status
        assert connection.sock is used
    connection.close()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""])
def test_a_host_that_is_not_loopback_is_403(client, host):
    answer = client.get("/about", headers={"Host": host})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "request.host")


def test_loopback_is_known_by_its_names(client, server):
    for host in ("localhost", f"LOCALHOST:{server.port}", "[::1]:80", f"127.0.0.1:{server.port}"):
        assert client.get("/about", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_pages_of_other_origins_are_403(client, origin):
    answer = client.post("/predict", json={"text": "a"}, headers={"Origin": origin})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "request.origin")


def test_the_page_of_this_server_may_ask(client, server):
    origin = f"http://127.0.0.1:{server.port}"
    assert client.post("/predict", json={"text": "a"}, headers={"Origin": origin}).status_code == 200


def test_every_route_but_health_and_the_page_needs_a_key_when_there_is_one(locked):
    with httpx.Client(base_url=f"http://127.0.0.1:{locked.port}", timeout=60) as client:
        document = client.get("/openapi.json", headers={"Authorization": "Bearer right"}).json()
        asked = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]
        assert ("POST", "/predict") in asked
        for method, path in [*asked, ("GET", "/nowhere"), ("DELETE", "/predict"), ("POST", "/")]:
            answer = client.request(method, path.replace("{name}", NAME))
            open_to_all = path in ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready")
            open_to_all = open_to_all or (method, path) == ("GET", "/")
            assert answer.status_code == (200 if open_to_all else 401), (method, path)
        assert client.head("/").status_code == 200
        assert client.get("/needs").headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "given",
    [
        ["Bearer wrong"],
        ["right"],
        ["Basic right"],
        ["Bearer right", "Bearer right"],
        ["Bearer " + "x" * 9000],
        ["Bearer"],
    ],
)
def test_a_wrong_key_is_401(locked, given):
    headers = [("Authorization", value) for value in given]
    answer = httpx.post(f"http://127.0.0.1:{locked.port}/predict", json={"text": "a"}, headers=headers, timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "request.key")


@pytest.mark.parametrize("given", ["Bearer right", "bearer other"])
def test_any_of_the_keys_fits(locked, given):
    url = f"http://127.0.0.1:{locked.port}/predict"
    assert httpx.post(url, json={"text": "a"}, headers={"Authorization": given}, timeout=60).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--host", "0.0.0.0"], "SARTOR_API_KEY"), (["--host", "::"], "SARTOR_API_KEY"), (["--port", "99999"], "--port")],  # noqa: S104
)
def test_an_address_that_cannot_be_served_is_refused_before_anything_is_loaded(tmp_path, arguments, said):
    env = {name: value for name, value in os.environ.items() if name != "SARTOR_API_KEY"}
    command = [sys.executable, "-m", "sartor.serve", str(tmp_path), *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_refused(built, server):
    command = [sys.executable, "-m", "sartor.serve", str(built[0]), "--port", str(server.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


def test_a_model_that_cannot_answer_its_own_examples_is_not_served(built, tmp_path):
    with bundles.writing(tmp_path / "broken") as target:
        shutil.copytree(built[0], target, dirs_exist_ok=True)
        (target / bundles.MANIFEST).unlink()
        meta = json.loads((target / "bundle.json").read_text())
        bundles.write_json(target / "bundle.json", meta | {"examples": [{"text": 7}]})
    command = [sys.executable, "-m", "sartor.serve", str(tmp_path / "broken"), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr


def test_open_inference_protocol_tells_the_model_and_answers(client, built):
    path, rows = built
    metadata = client.get(f"/v2/models/{NAME}").json()
    assert metadata["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert [output["name"] for output in metadata["outputs"]] == [
        "label.label",
        "label.probability",
        "label.probabilities",
    ]
    for route in ("/v2", "/v2/health/live", "/v2/health/ready", f"/v2/models/{NAME}/ready"):
        assert client.get(route).status_code == 200
    assert client.get("/v2/models/other").status_code == 404
    texts = [row["text"] for row in rows[:5]]
    tensor = {"name": "text", "datatype": "BYTES", "shape": [5], "data": texts}
    answer = client.post(f"/v2/models/{NAME}/infer", json={"id": "a", "inputs": [tensor]}).json()
    assert (answer["model_name"], answer["id"]) == (NAME, "a")
    found = {output["name"]: output for output in answer["outputs"]}
    expected = predict.load(path).predict(texts)
    assert found["label.label"]["data"] == [one["label"] for one in expected]
    assert found["label.probabilities"]["shape"] == [5, 2]
    flat = [value for one in expected for value in one["probabilities"].values()]
    assert found["label.probabilities"]["data"] == pytest.approx(flat, abs=1e-5)
    nested = tensor | {"shape": [5, 1], "data": [[text] for text in texts]}
    body = {"inputs": [nested], "outputs": [{"name": "label.label"}]}
    answer = client.post(f"/v2/models/{NAME}/versions/1/infer", json=body).json()
    assert answer["outputs"] == [found["label.label"]]


GOOD = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}


@pytest.mark.parametrize(
    "payload",
    [
        [],
        {},
        {"inputs": 3},
        {"inputs": [GOOD | {"name": "txt"}]},
        {"inputs": [GOOD, GOOD | {"name": "more"}]},
        {"inputs": [GOOD, GOOD]},
        {"inputs": [GOOD | {"datatype": "FP32"}]},
        {"inputs": [GOOD | {"shape": [2]}]},
        {"inputs": [GOOD | {"shape": [-1]}]},
        {"inputs": [GOOD | {"shape": []}]},
        {"inputs": [GOOD | {"data": [7]}]},
        {"inputs": [GOOD | {"data": "a"}]},
        {"inputs": [GOOD], "outputs": [{"name": "nothing"}]},
    ],
)
def test_open_inference_protocol_refuses_inputs_that_do_not_fit(client, payload):
    answer = client.post(f"/v2/models/{NAME}/infer", json=payload)
    assert answer.status_code == 400
    assert isinstance(answer.json()["error"], str)


def test_metrics_count_every_request_and_row_and_let_no_client_name_a_label(client):
    before = counted(client)
    client.post("/predict", json={"text": "a"})
    client.post("/predict", json={"rows": [{"text": "a"}, {"text": 1}, {"text": "b"}]})
    client.post("/predict", json={"text": 1})
    client.post("/predict", content=b"{")
    client.post("/predict", json={"text": "a"}, headers={"Origin": "null"})
    for i in range(50):
        client.get(f"/nowhere/{i}")
        client.get(f"/v2/models/{i}")
    after = counted(client)

    def grew(name):
        return after.get(name, 0) - before.get(name, 0)

    assert grew('sartor_rows_total{outcome="ok"}') == 3
    assert grew('sartor_rows_total{outcome="error"}') == 2
    for status, number in (("200", 2), ("422", 1), ("400", 1), ("403", 1)):
        assert grew(f'sartor_requests_total{{route="/predict",status="{status}"}}') == number
    assert grew('sartor_requests_total{route="other",status="404"}') == 50
    assert grew('sartor_requests_total{route="/v2/models",status="404"}') == 50
    assert grew("sartor_predict_seconds_count") == 2
    assert after["sartor_ready"] == 1


def test_needs_are_told_as_they_were_proven_with_what_can_be_seen_now(client, built):
    client.post("/predict", json={"text": "a"})
    contract = client.get("/needs").json()
    accuracy, latency, memory = contract["needs"]
    assert [need["verdict"] for need in contract["needs"]] == [need["verdict"] for need in NEEDS]
    assert (accuracy["live"], accuracy["holds"]) == (None, None)
    assert latency["holds"] is True
    assert 0 < latency["live"] == contract["live"]["latency_p95"]
    assert memory["holds"] is False
    assert contract["digest"] == bundles.load(built[0]).digest


def test_what_there_is_not_is_told_in_the_same_form(client):
    for method, path, status in (("GET", "/nowhere", 404), ("GET", "/predict", 405), ("GET", "/predict/", 404)):
        answer = client.request(method, path)
        assert answer.status_code == status
        assert answer.json()["error"]["code"] in ("request.path", "request.method")
    assert client.get("/predict").headers["allow"] == "POST"


def test_head_is_get_without_the_body(client):
    for path in ("/", "/about", "/health/ready"):
        answer = client.head(path)
        assert answer.status_code == 200
        assert answer.content == b""
        assert answer.headers["content-type"] == client.get(path).headers["content-type"]


def test_the_page_runs_its_own_script_alone_and_reaches_nothing_else(client):
    first, second = client.get("/"), client.get("/")
    policy = first.headers["content-security-policy"]
    nonce = re.search(r"script-src 'nonce-([\w-]+)'", policy).group(1)
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert nonce not in second.text
    page = first.text
    assert "{{" not in page
    assert set(re.findall(r"<(?:script|style)[^>]*>", page)) == {
        f'<script nonce="{nonce}">',
        f'<style nonce="{nonce}">',
    }
    assert not re.search(r"<[^>]*\s(on[a-z]+|style)\s*=", page)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", page)
    assert set(re.findall(r"https?://[^'\"\s`$]+", page)) == {"http://www.w3.org/2000/svg"}


def test_the_page_is_told_the_inputs_and_examples(client, built):
    about = client.get("/about").json()
    assert about["name"] == NAME
    assert about["inputs"] == [{"name": "text", "kind": "text", "widget": "textarea"}]
    assert about["targets"] == ["label"]
    assert about["examples"] == built[1][:4]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_there_is_no_torch_in_the_server(client, server):
    client.post("/predict", json={"text": "a"})
    maps = Path(f"/proc/{server.pid}/maps").read_text()
    assert "onnxruntime" in maps
    assert "torch" not in maps


def test_a_server_that_is_stopped_answers_everything_it_accepted(built, spawned):
    path, rows = built
    child = spawned(path)
    port = int(child.stdout.readline().rsplit(":", 1)[1])
    body = json.dumps({"rows": rows * (MAX_ROWS // len(rows))}).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
    accepted = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(8)]
    for connection in accepted:
        connection.sendall(head.encode())
    for connection in accepted:
        assert connection.recv(1000).startswith(b"HTTP/1.1 100")
    for connection in accepted[:4]:
        connection.sendall(body)
    child.send_signal(signal.SIGTERM)
    for connection in accepted[4:]:
        connection.sendall(body)
    for connection in accepted:
        status, _, answer = answered(connection)
        assert status == 200
        assert len(json.loads(answer)["answers"]) == len(rows) * (MAX_ROWS // len(rows))
        connection.close()
    _, said = child.communicate(timeout=60)
    assert child.returncode in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
    assert said == ""


def test_ctrl_c_stops_it_without_a_traceback(built, spawned):
    child = spawned(built[0])
    assert child.stdout.readline().startswith("serving http://127.0.0.1:")
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert said == ""
