"""Loading weights: every published form of file, refusals, conversion and download."""

import hashlib
import http.server
import pickle
import threading

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmifn.core.errors import ArtefactError, UnpicklingRefused, UserError
from mmifn.encoders.state import read_state
from mmifn.encoders.vmamba import VMambaConfig, build_vmamba, config, load_vmamba
from tools import convert_checkpoint

SMALL = {
    "small": VMambaConfig((8, 16), (1, 1)),
    "small_vanilla": VMambaConfig((8, 16), (1, 1), 2.0, 2, vanilla=True),
}


@pytest.fixture(autouse=True)
def small_variants(monkeypatch):
    """Stand-ins for the published variants, which would be hundreds of megabytes."""
    for name, shape in SMALL.items():
        monkeypatch.setitem(config.VARIANTS, name, config.Variant(shape, f"http://127.0.0.1:1/{name}.pth", 100, ()))
        monkeypatch.setitem(config._NAMES, name, name)


def state_of(name, seed=0, classes=7):
    torch.manual_seed(seed)
    return build_vmamba(name, num_classes=classes).state_dict()


def released(state):
    """A vanilla state under the names of the release files, linears as 1x1 convolutions."""
    renames = {"classifier.norm": "norm", "classifier.head": "head", "patch_embed.0": "patch_embed.proj",
               "patch_embed.2": "patch_embed.norm", ".op.": ".self_attention."}
    old = {}
    for key, value in state.items():
        if key.startswith("layers.") and ".norm." in key and "downsample" not in key:
            key = key.replace(".norm.", ".ln_1.")
        for new, name in renames.items():
            key = key.replace(new, name)
        old[key] = value[:, :, None, None] if value.ndim == 2 and "proj.weight" in key else value
    return old


class Namespace:
    """A class whose pickle names this module, as configurations in checkpoints name theirs."""

    def __init__(self):
        self.lr = 1e-3


class Hostile:
    """An object whose unpickling would run a function."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("form", ["model", "plain", "safetensors", "released"])
def test_every_form_of_file_gives_the_same_network(tmp_path, name, form):
    state = state_of(name)
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        save_file(state, path)
    else:
        forms = {"model": {"model": state, "epoch": 3}, "plain": state, "released": {"model": released(state)}}
        torch.save(forms[form], path)
    model, digest = load_vmamba(name, path)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not model.training
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 7)


def test_vanilla_release_names_differ_from_ours():
    assert {key.split(".")[0] for key in released(state_of("small_vanilla"))} == {
        "patch_embed", "layers", "norm", "head"}
    assert any("ln_1" in key for key in released(state_of("small_vanilla")))


def test_checkpoint_of_another_variant_is_named(tmp_path):
    save_file(state_of("small_vanilla"), tmp_path / "w.safetensors")
    with pytest.raises(ArtefactError, match="not a checkpoint of small, but of small_vanilla"):
        load_vmamba("small", tmp_path / "w.safetensors")


def test_checkpoint_of_no_variant_lists_what_differs(tmp_path):
    state = state_of("small")
    state["extra"] = state.pop("patch_embed.0.bias")
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ArtefactError, match=r"(?s)nor any other.*patch_embed\.0\.bias: missing.*extra: not part"):
        load_vmamba("small", tmp_path / "w.safetensors")


@pytest.mark.parametrize("name, content, message", [
    ("w.pth", b"not a torch file", "damaged"), ("w.safetensors", b"nor this", "damaged"), ("none.pth", None, "not exist"),
    ("none.safetensors", None, "not exist")])
def test_missing_and_damaged_files(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtefactError, match=message):
        load_vmamba("small", tmp_path / name)


def test_file_without_weights(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(ArtefactError, match=r"holds no network weights: found dict of \['epoch'\]"):
        load_vmamba("small", tmp_path / "w.pth")


def test_pickled_configuration_is_refused_then_converted_on_demand(tmp_path, capsys):
    state, source, target = state_of("small"), tmp_path / "w.pth", tmp_path / "w.safetensors"
    torch.save({"model": state, "config": Namespace()}, source)
    with pytest.raises(UnpicklingRefused) as refusal:
        load_vmamba("small", source)
    command = f"python tools/convert_checkpoint.py {source} {target} --allow-unpickling"
    assert command in str(refusal.value)
    arguments = command.split()[2:]
    assert convert_checkpoint.main(arguments[:-1]) == 2
    assert "can run code" in capsys.readouterr().err and not target.exists()
    assert convert_checkpoint.main(arguments) == 0
    assert all(torch.equal(value, state[key]) for key, value in load_file(target).items())
    load_vmamba("small", target)
    assert convert_checkpoint.main(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert convert_checkpoint.main([*arguments, "--overwrite"]) == 0


def test_neither_loading_nor_conversion_runs_a_hostile_file(tmp_path):
    source, marker = tmp_path / "w.pth", tmp_path / "it ran"
    torch.save({"model": state_of("small"), "config": Hostile(marker)}, source)
    with pytest.raises(UnpicklingRefused):
        read_state(source)
    assert convert_checkpoint.main([str(source), str(tmp_path / "w.safetensors"), "--allow-unpickling"]) == 0
    assert not marker.exists()
    with open(source.with_suffix(".raw"), "wb") as file:
        pickle.dump(Hostile(marker), file)  # the marker is what a plain unpickling would leave
    pickle.loads(source.with_suffix(".raw").read_bytes()).close()
    assert marker.exists()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A release page on 127.0.0.1; `answer` is what it sends: status, announced size, bytes."""
    class Handler(http.server.BaseHTTPRequestHandler):
        answer, requests = (200, 0, b""), 0

        def do_GET(self):
            Handler.requests += 1
            status, size, body = Handler.answer
            self.send_response(status)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    page = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=page.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{page.server_port}/small.pth"
    monkeypatch.setitem(config.VARIANTS, "small", config.Variant(SMALL["small"], url, 100, ()))
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    yield Handler
    page.shutdown()
    page.server_close()


def test_download_once_with_progress_on_stderr(tmp_path, server, capsys):
    torch.save({"model": state_of("small")}, tmp_path / "release.pth")
    body = (tmp_path / "release.pth").read_bytes()
    server.answer = (200, len(body), body)
    cache = tmp_path / "cache"
    _, digest = load_vmamba("small", cache_dir=cache)
    captured = capsys.readouterr()
    assert "small.pth" in captured.err and captured.out == ""
    assert digest == hashlib.sha256(body).hexdigest()
    load_vmamba("small", cache_dir=cache)
    assert server.requests == 1 and [file.name for file in cache.iterdir()] == ["small.pth"]


@pytest.mark.parametrize("answer, message", [
    ((200, 5000, b"x" * 4000), r"4000.*5000"), ((404, 9, b"not found"), "404"), ((200, 5, b"<html"), "cannot be these")])
def test_failed_download_leaves_nothing(tmp_path, server, answer, message):
    server.answer = answer
    with pytest.raises(UserError, match=rf"(?s)could not download.*{message}.*path as the weights"):
        load_vmamba("small", cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir() if (tmp_path / "cache").exists() else []) == []


def test_unreachable_page_names_the_way_out(tmp_path):
    with pytest.raises(UserError, match=r"(?s)cannot be downloaded: .*refused.*--global-weights FILE"):
        load_vmamba("small_vanilla", cache_dir=tmp_path)
