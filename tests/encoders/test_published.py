"""Downloads: what has to be fetched is said at once where there is no network, and what is here needs none."""

import http.server
import threading
import time
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from mmifn.core.errors import UserError
from mmifn.encoders import published
from mmifn.encoders.networks import load_erp_encoder, load_view_encoder
from mmifn.encoders.presets import choose
from mmifn.encoders.text import load_text_encoder

CPU = torch.device("cpu")
SOON = 10  # 2 s, on a machine that does nothing else; the hub's own client took 25 to 63
NOWHERE = "http://127.0.0.1:9"  # nothing listens on the discard port


@pytest.fixture
def no_network(monkeypatch):
    """A hub and a release page that nobody can reach, and nothing said about being offline."""
    from huggingface_hub import constants

    from mmifn.encoders.vmamba.config import VARIANTS

    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", NOWHERE)
    tiny = VARIANTS["vmamba_tiny_s1l8"]
    monkeypatch.setitem(VARIANTS, "vmamba_tiny_s1l8", replace(tiny, url=f"{NOWHERE}/{tiny.filename}"))


def refusal(load):
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        load()
    return str(caught.value), time.monotonic() - start


def test_all_three_encoders_of_the_paper_say_what_to_fetch_at_once(no_network, tmp_path, monkeypatch):
    monkeypatch.setenv("MMIFN_CACHE", str(tmp_path / "cache"))
    load_view_encoder("lite0_adapted", CPU)  # the libraries are imported: the time of the message is measured, not theirs
    text, seconds = refusal(lambda: load_text_encoder("google-bert/bert-base-uncased"))
    assert seconds < SOON and f"{NOWHERE}/google-bert/bert-base-uncased/resolve/main/model.safetensors (about 440 MB)" in text
    assert "--text-encoder DIR (a folder with config.json" in text and "models--google-bert--bert-base-uncased" in text
    # 86.6 million parameters of ViT-B/16 without, and 16.8 with its classifier of 21,843 classes: 410 MB in float32
    text, seconds = refusal(lambda: load_view_encoder("vit_base_patch16_224.augreg_in21k", CPU))
    assert seconds < SOON and "timm/vit_base_patch16_224.augreg_in21k/resolve/main/model.safetensors (about 410 MB)" in text
    assert "--viewport-weights FILE" in text and "--preset offline" in text
    text, seconds = refusal(lambda: load_erp_encoder(choose("paper"), CPU))
    assert seconds < SOON and "vssm1_tiny_0230s_ckpt_epoch_264.pth (about 121 MB)" in text
    assert str(tmp_path / "cache" / "vssm1_tiny_0230s_ckpt_epoch_264.pth") in text and "--global-weights FILE" in text


def test_a_publisher_that_keeps_silent_is_given_up_and_waited_for_on_request(monkeypatch):
    class Silent(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            time.sleep(0.6)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/file"
    monkeypatch.setenv(published.WAIT_VARIABLE, "0.1")
    assert published.unreachable(url) == "no answer within 0.1 s (MMIFN_NETWORK_WAIT_S waits longer)"
    assert published._ask(url, 0.1) is None  # the socket's own limit, which may be the quicker of the two
    monkeypatch.setenv(published.WAIT_VARIABLE, "5")
    assert published.unreachable(url) == ""  # "not found" is an answer
    monkeypatch.setenv(published.WAIT_VARIABLE, "soon")
    with pytest.raises(UserError, match="MMIFN_NETWORK_WAIT_S=soon: wanted a number"):
        published.unreachable(url)
    server.shutdown()


def test_the_hub_is_not_asked_when_it_may_not_be(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert published.unreachable(published.hub_file("a/b", "c")) == "HF_HUB_OFFLINE is set"


def test_what_the_hubs_client_has_kept_needs_no_network(no_network, tmp_path, monkeypatch):
    import timm
    from huggingface_hub import constants, file_download

    name = "vit_tiny_patch16_224"
    network = timm.create_model(name, pretrained=False)
    folder = tmp_path / f"models--{network.pretrained_cfg['hf_hub_id'].replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    save_file(network.state_dict(), folder / "snapshots" / "abc" / "model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(file_download, "HF_HUB_CACHE", str(tmp_path), raising=False)
    encoder = load_view_encoder(name, CPU)
    again = load_view_encoder(name, CPU, folder / "snapshots" / "abc" / "model.safetensors")
    assert encoder.weights_sha256 == again.weights_sha256


def test_a_folder_that_is_not_there_is_no_name_on_the_hub():
    with pytest.raises(UserError, match=r"--text-encoder \./bert: no such folder"):
        load_text_encoder("./bert")
