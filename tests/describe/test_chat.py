"""A server of the OpenAI interface on loopback: what it is sent, what is kept of its answers, and every way it can fail."""

import base64
import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

import generate_text
from mmifn.core.errors import UserError
from mmifn.describe.chat.server import checked_url, is_loopback
from mmifn.describe.conversation import part_of
from mmifn.describe.table import read_rows

GOOD = "The view is blurred on the left. The rest is clean."
KEY = "sk-very-secret-0123456789"


class Scripted(ThreadingHTTPServer):
    """Answers by a function (number of the question, body) -> (status, content, headers); remembers what it was sent."""

    def __init__(self, answer, models=("tiny",)):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.models, self.asked, self.headers, self.busy, self.most = answer, models, [], [], 0, 0
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def handle_error(self, *_):
        """Some clients here go away on purpose."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def reply(self, status, content, headers=()):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (("Content-Length", str(len(data))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.server.models is None:
            return self.reply(404, {"error": "no such page"})
        if isinstance(self.server.models, bytes):
            return self.reply(200, self.server.models)
        self.reply(200, {"data": [{"id": name} for name in self.server.models]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append(body)
            self.server.headers.append(dict(self.headers))
            number, self.server.busy = len(self.server.asked), self.server.busy + 1
            self.server.most = max(self.server.most, self.server.busy)
        try:
            self.reply(*self.server.answer(number, body))
        finally:
            with self.server.lock:
                self.server.busy -= 1


def says(text, reason="stop"):
    return 200, {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": reason}]}


@pytest.fixture
def serve(monkeypatch):
    """Start scripted servers; repeats come at once."""
    monkeypatch.setattr("mmifn.describe.chat.server.FIRST_WAIT_S", 0.001)
    servers = []

    def start(answer, models=("tiny",)):
        servers.append(Scripted(answer, models))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def run(tmp_path):
    images = tmp_path / "datasets" / "DS" / "images"
    images.mkdir(parents=True)
    for i in range(5):
        Image.fromarray(np.full((64, 128, 3), 40 * i, np.uint8)).save(images / f"{i}.png")
    (images.parent / "des.csv").write_text("image_name,MOS,distortion_type\n" + "".join(f"{i}.png,3,GN\n" for i in range(5)))

    def call(server, *flags):
        url = server if isinstance(server, str) else server.url
        argv = ["--root", str(tmp_path), "--dataset", "DS", "--source", "openai", "--views", "1", "--view-size", "32",
                "--erp-height", "32", "--base-url", url, *flags]
        code = generate_text.main(argv)
        path = tmp_path / "text" / "des.csv"
        return code, {row.image_name: row for row in read_rows(path)} if path.exists() else {}

    return call


def test_an_answer_and_what_was_sent_for_it(serve, run, capsys):
    server = serve(lambda number, body: says(GOOD))
    code, rows = run(server, "--prompt", "How is it?", "--system-prompt", "You rate.", "--limit", "1", "--max-new-tokens", "99")
    assert code == 0 and rows["0.png"].description == GOOD
    assert (rows["0.png"].source, rows["0.png"].model) == ("openai", "tiny") and rows["0.png"].revision.startswith("unverified+")
    body = server.asked[0]
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("tiny", 99, 0.0)
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    system, user = body["messages"]
    assert system == {"role": "system", "content": "You rate."}
    *pictures, text = user["content"]
    assert text["text"].endswith("How is it?") and text["text"] != "How is it?"
    sizes = []
    for each in pictures:
        kind, data = each["image_url"]["url"].split(",")
        assert kind == "data:image/png;base64"
        sizes.append(Image.open(io.BytesIO(base64.b64decode(data))).size)
    assert sizes == [(64, 32), (32, 32)]  # the reduced panorama, then one view of it
    assert "sees the panorama at up to 64x32" in capsys.readouterr().err


def test_a_second_run_asks_for_what_is_missing_or_asked_otherwise(serve, run):
    server = serve(lambda number, body: says(GOOD))
    run(server, "--limit", "2")
    assert run(server)[0] == 0 and len(server.asked) == 5
    run(server)
    assert len(server.asked) == 5
    run(server, "--view-size", "28")
    assert len(server.asked) == 10
    run(server, "--view-size", "28", "--keep", "reasoning")
    assert len(server.asked) == 15


def test_no_more_questions_at_a_time_than_allowed(serve, run):
    def slow(number, body):
        time.sleep(0.1)
        return says(GOOD)

    for allowed in (1, 3):
        server = serve(slow)
        run(server, "--concurrency", str(allowed), "--replace-supplied", "--view-size", str(30 + allowed))
        assert server.most == allowed


@pytest.mark.parametrize("fault", [(429, {"error": {"message": "slow down"}}, (("Retry-After", "0"),)), (503, b"<html>oops"),
                                   (500, {"detail": "broken"})])
def test_a_busy_server_is_asked_again(serve, run, fault):
    server = serve(lambda number, body: fault if number < 3 else says(GOOD))
    code, rows = run(server, "--limit", "1")
    assert code == 0 and rows["0.png"].description == GOOD and len(server.asked) == 3


def test_what_stays_broken_is_reported_and_the_rest_is_kept(serve, run, capsys):
    server = serve(lambda number, body: (500, {"detail": "broken"}) if number > 2 else says(GOOD))
    code, rows = run(server, "--concurrency", "1")
    assert code == 2 and sorted(rows) == ["0.png", "1.png"]
    message = capsys.readouterr().err
    assert "no usable text for 3 of 5" in message and "500: broken" in message and "6 times" in message
    server.answer = lambda number, body: says(GOOD)
    assert run(server)[0] == 0


@pytest.mark.parametrize(("answer", "words"), [
    ((200, b"<html>hello"), "no JSON"), ((200, {"choices": []}), "holds no answer"),
    ((200, {"object": "list"}), "holds no answer"),
    (says(None), "empty answer"), (says("  "), "empty answer"), (says("blur " * 30), "again and again"),
    (says("half a sentence that never", "length"), "no whole sentence"),
    (says("<think>first I look", "length"), "still thinking"),
    ((400, {"error": {"message": "tiny is not a multimodal model"}}), "not a multimodal model"),
    ((413, {"error": "too large"}), "413: too large")])
def test_answers_that_are_none(serve, run, capsys, answer, words):
    server = serve(lambda number, body: answer)
    code, rows = run(server, "--limit", "2")
    message = capsys.readouterr().err
    assert code == 2 and rows == {} and words in message and "Traceback" not in message


def test_a_server_that_refuses_everything_is_not_asked_on(serve, run, capsys):
    server = serve(lambda number, body: (400, {"error": {"message": "no images here"}}))
    assert run(server, "--concurrency", "1")[0] == 2
    assert "first 3 questions" in capsys.readouterr().err and len(server.asked) == 6  # each once with and once without extras


def test_fields_that_a_server_does_not_know_are_left_out(serve, run):
    def strict(number, body):
        return (422, {"detail": "Unexpected fields"}) if "reasoning_effort" in body else says(GOOD)

    server = serve(strict)
    assert run(server, "--concurrency", "1")[0] == 0
    assert len(server.asked) == 6 and "chat_template_kwargs" not in server.asked[1]


def test_a_cut_answer_keeps_its_whole_sentences(serve, run, capsys):
    server = serve(lambda number, body: says(GOOD + " And then th", "length"))
    code, rows = run(server, "--limit", "1")
    assert code == 0 and rows["0.png"].description == GOOD
    assert "1 answers ran into --max-new-tokens" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "keep", "part"), [
    ("<think>I look.</think>\nIt is blurred.", "answer", "It is blurred."),
    ("I look.</think> It is blurred.", "answer", "It is blurred."),
    ("<think>Noise in the sky.</think><answer>2.31</answer>", "answer", "2.31"),
    (GOOD, "answer", GOOD),
    ("<think>Noise in the sky.</think><answer>2.31</answer>", "reasoning", "Noise in the sky."), ("Noise.", "reasoning", "")])
def test_thinking_is_told_from_the_answer(text, keep, part):
    assert part_of(text, keep)[0] == part and bool(part_of(text, keep)[1]) == (part == "")


def test_a_key_comes_from_the_environment_and_appears_nowhere(serve, run, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("THE_KEY", KEY)
    server = serve(lambda number, body: says(GOOD) if number == 1 else (400, {"error": f"bad key {KEY} or so"}))
    assert run(server, "--api-key-env", "THE_KEY", "--concurrency", "1", "--limit", "2")[0] == 2
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    told = capsys.readouterr()
    assert "bad key … or so" in told.err and KEY not in told.err + told.out
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    server = serve(lambda number, body: (401, {"error": f"invalid {KEY}"}))
    assert run(server, "--api-key-env", "THE_KEY")[0] == 2
    told = capsys.readouterr().err
    assert "does not accept the key" in told and KEY not in told
    assert run(server)[0] == 2 and "wants a key" in capsys.readouterr().err
    assert run(server, "--api-key-env", "NO_SUCH")[0] == 2 and "NO_SUCH is not set" in capsys.readouterr().err


def test_wrong_models_and_addresses(serve, run, capsys, tmp_path):
    server = serve(lambda number, body: says(GOOD), models=("a", "b"))
    for flags, words in (((), "serves several models; there are:\n  a\n  b"), (("--model", "c"), "serves no model 'c'")):
        assert run(server, *flags)[0] == 2 and words in capsys.readouterr().err
    assert run(server, "--model", "b", "--limit", "1")[1]["0.png"].model == "b"
    assert run(serve(None, models=b"<html>"))[0] == 2 and "no JSON" in capsys.readouterr().err
    assert run(serve(None, models=b"{}"))[0] == 2 and "no list of models" in capsys.readouterr().err
    assert run(serve(None, models=None))[0] == 2 and "does not say which models" in capsys.readouterr().err
    folder = tmp_path / "my_model"
    folder.mkdir()
    assert run(server, "--model", str(folder), "--limit", "1", "--view-size", "30")[1]["0.png"].model == "my_model"
    lost = serve(lambda number, body: (404, {"error": {"message": "model not found"}}), models=None)
    assert run(lost, "--model", "c")[0] == 2 and "knows no model 'c'" in capsys.readouterr().err
    assert run("http://127.0.0.1:9/v1")[0] == 2 and "no server answers at http://127.0.0.1:9/v1" in capsys.readouterr().err
    for url in ("127.0.0.1:8000", "ftp://127.0.0.1/v1", "http://me:secret@127.0.0.1/v1"):
        assert run(url)[0] == 2 and "wanted an address such as" in capsys.readouterr().err


def test_redirects_are_not_followed(serve, run, capsys):
    elsewhere = serve(lambda number, body: says(GOOD))
    server = serve(lambda number, body: (307, b"", (("Location", elsewhere.url + "/chat/completions"),)))
    assert run(server)[0] == 2 and "which is not followed" in capsys.readouterr().err and elsewhere.asked == []


def test_a_server_that_goes_away_ends_the_run_and_loses_nothing(serve, run, capsys):
    def dies(number, body):
        if number < 3:
            return says(GOOD)
        raise ConnectionAbortedError

    server = serve(dies)
    code, rows = run(server, "--concurrency", "1")
    assert code == 2 and sorted(rows) == ["0.png", "1.png"] and "no server answers" in capsys.readouterr().err


def test_an_answer_that_takes_too_long(serve, run, capsys, monkeypatch):
    def slow(number, body):
        time.sleep(1.1)
        return says(GOOD)

    monkeypatch.setattr("mmifn.describe.chat.server.RETRIES", 1)
    assert run(serve(slow), "--timeout", "1", "--limit", "1")[0] == 2
    assert "no answer within 1 s, 2 times" in capsys.readouterr().err


def test_other_machines_must_be_named_and_get_no_key_in_the_clear():
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.8.9.1", "::1"))) and not is_loopback("192.168.0.1")
    assert not is_loopback("localhost.example.org")
    with pytest.raises(UserError, match=r"--allow-host gpu\.example\.org"):
        checked_url("https://gpu.example.org/v1", None, False)
    assert str(checked_url("https://gpu.example.org/v1/", "gpu.example.org", True)) == "https://gpu.example.org/v1"
    with pytest.raises(UserError, match="unencrypted"):
        checked_url("http://gpu.example.org/v1", "gpu.example.org", True)
