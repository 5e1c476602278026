"""Caches: what is written comes back, nothing is half-written, and everything that does not fit is refused."""

import dataclasses
import hashlib
import os
import pathlib
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import provenance

from mmifn.core import artefact, files
from mmifn.core.artefact import load, load_torch, require_names
from mmifn.core.errors import ArtefactError, UnpicklingRefused, user_main
from mmifn.core.files import atomic_path
from mmifn.data.features import FusedFeatures, GlobalFeatures, TextFeatures, ViewportFeatures

NAMES = ["b.png", "a.png", "sub/c.png"]


def example(kind, dataset="DS"):
    torch.manual_seed(0)
    made = provenance("net", ["database"] if kind is FusedFeatures else NAMES, fov_deg=90.0)
    parts = {
        TextFeatures: lambda: (torch.randn(3, 4, 5).half(), torch.rand(3, 4) > 0.5, torch.randn(3, 5)),
        ViewportFeatures: lambda: (torch.randn(3, 7, 5).half(), torch.randn(7, 2)),
        GlobalFeatures: lambda: ([torch.randn(3, 8, c).half() for c in (4, 6, 8)],),
        FusedFeatures: lambda: (
            torch.randn(3, 8, 18),
            "gff",
            {"weight": torch.randn(2, 2)},
            {"model": {"width": 8}},
            {"seed": 0},
        ),
    }[kind]()
    return kind(dataset, list(NAMES), made, *parts)


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, list) and a and isinstance(a[0], torch.Tensor):
        return all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b


@pytest.mark.parametrize("kind", [TextFeatures, ViewportFeatures, GlobalFeatures, FusedFeatures])
def test_round_trip_is_exact_and_plain(kind, tmp_path):
    one, path = example(kind), tmp_path / "new" / "folder" / "cache.pt"
    artefact.save(one, path)
    back = load(path, kind, dataset="DS")
    assert all(same(getattr(one, part.name), getattr(back, part.name)) for part in dataclasses.fields(kind))
    assert back.digest() == one.digest()
    plain = torch.load(path, weights_only=True)  # nobody needs this package to read it
    assert plain["schema"] == kind.SCHEMA and plain["names"] == NAMES
    assert [item.name for item in path.parent.iterdir()] == ["cache.pt"]


def test_digest_sees_every_change(tmp_path):
    one = example(ViewportFeatures)
    moved = one.features.clone()
    moved[2, 6, 4] += 1
    others = [
        dataclasses.replace(one, **change)
        for change in (
            {"dataset": "other"},
            {"names": ["a.png", "b.png", "sub/c.png"]},
            {"features": moved},
            {"centres_deg": one.centres_deg + 1},
            {"made_by": provenance("net", NAMES, fov_deg=91.0)},
        )
    ]
    assert len({each.digest() for each in [one, *others]}) == 6


def test_method_digest_knows_how_but_not_from_what():
    one = provenance("net", NAMES)
    assert one.method_digest() == provenance("net", ["z.png"]).method_digest()
    others = [provenance("other", NAMES), provenance("net", NAMES, fov_deg=1), dataclasses.replace(one, weights_sha256="x")]
    assert len({each.method_digest() for each in [one, *others]}) == 4


def test_hashes_are_sha256(tmp_path):
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    (tmp_path / "f").write_bytes(b"abc")
    assert files.sha256_text("abc") == files.sha256_file(tmp_path / "f") == abc
    assert (
        files.sha256_json({"b": 1, "a": "ä"})
        == files.sha256_json({"a": "ä", "b": 1})
        != files.sha256_json({"a": "ä", "b": 2})
    )
    value = torch.tensor([[1.5, -2.0]])
    assert artefact.sha256_tensors({"w": value}) == hashlib.sha256(b"w(1, 2)torch.float32" + value.numpy().tobytes()).hexdigest()
    assert artefact.sha256_tensors({"w": value.T}) != artefact.sha256_tensors({"w": value})


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["table.txt"]


def test_what_a_killed_process_left_of_a_file_goes_with_its_next_writing(tmp_path):
    path = tmp_path / "view.png"
    code = f"""
import os, pathlib
from mmifn.core.files import atomic_path
with atomic_path(pathlib.Path({str(path)!r})) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), 9)"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    (left,) = os.listdir(tmp_path)
    running = left.replace(left.split("-")[1], str(os.getppid()))  # a file of a process that is at work now
    other = left.replace("view", "views")
    for name in (running, other):
        (tmp_path / name).touch()
    files.write_text(path, "whole")
    assert sorted(os.listdir(tmp_path)) == sorted([running, other, "view.png"])


def test_written_files_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        files.write_text(tmp_path / "x", "")
    finally:
        os.umask(old)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("write", [lambda path: artefact.save_torch({"x": torch.zeros(100_000)}, path),
                                   lambda path: artefact.save_safetensors({"x": torch.zeros(100_000)}, path)])  # fmt: skip
def test_a_full_disk_is_a_message_and_keeps_the_old_cache(tmp_path, capsys, write):
    path = tmp_path / "cache.pt"
    artefact.save(example(ViewportFeatures), path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # a small disk
    try:
        code = user_main(lambda: write(path) or 0)()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert code == 2 and f"error: {path}: File too large" in capsys.readouterr().err
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["cache.pt"]


@pytest.fixture
def cache(tmp_path):
    path = tmp_path / "viewport_features.pt"
    artefact.save(example(ViewportFeatures), path)
    return path


def refusal(path, kind=ViewportFeatures, **kwargs):
    with pytest.raises(ArtefactError) as caught:
        load(path, kind, **kwargs)
    return str(caught.value)


def test_a_missing_cache_names_the_stage_that_makes_it(tmp_path):
    message = refusal(tmp_path / "viewport_features.pt", dataset="OIQA")
    assert "viewport_features.pt does not exist" in message and "python viewport_encoder.py --dataset OIQA" in message


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.999])
def test_a_half_written_cache_is_refused(cache, share):
    content = cache.read_bytes()
    cache.write_bytes(content[: int(share * len(content))])
    message = refusal(cache)
    assert str(cache) in message and "damaged" in message and "Rebuild it: python viewport_encoder.py" in message
    assert "internal miniz error" not in message and len(message.splitlines()) == 2


@pytest.mark.parametrize(
    "junk", [b"hello, this is text", b"<!DOCTYPE html>", bytes(range(200, 256)) * 40, b"\x80\x02garbage", b"junk"]
)
def test_a_file_of_another_kind_is_damage_not_code(cache, junk):
    cache.write_bytes(junk)
    with pytest.raises(ArtefactError, match="damaged") as caught:
        load_torch(cache)
    assert not isinstance(caught.value, UnpicklingRefused)


def test_nonsense_never_escapes_as_anything_else(cache):
    rng = np.random.default_rng(0)
    for length in range(1, 300):
        cache.write_bytes(rng.integers(0, 128, length, dtype=np.uint8).tobytes())
        with pytest.raises(ArtefactError):
            load_torch(cache)


def test_a_flipped_bit_is_refused(cache):
    content = bytearray(cache.read_bytes())
    at = content.find(example(ViewportFeatures).features.numpy().tobytes())
    content[at + 11] ^= 1
    cache.write_bytes(content)
    assert "checksum" in refusal(cache)


def test_pickled_code_is_never_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return pathlib.Path.touch, (tmp_path / "ran",)

    torch.save({"x": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(UnpicklingRefused, match="running code"):
        load_torch(tmp_path / "bomb.pt")
    assert not (tmp_path / "ran").exists()


def test_a_cache_of_another_dataset_is_refused(cache):
    message = refusal(cache, dataset="CVIQ")
    assert "made for dataset DS, not for CVIQ" in message and "--dataset CVIQ" in message


def test_another_kind_or_version_is_refused(cache):
    assert "found viewport_features/1, wanted text_features/1" in refusal(cache, TextFeatures)
    content = torch.load(cache)
    torch.save({**content, "schema": "viewport_features/0"}, cache)
    assert "found viewport_features/0, wanted viewport_features/1" in refusal(cache)
    torch.save([1, 2], cache)
    assert "found list" in refusal(cache)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"extra": 1}, "extra"),
        ({"names": ["a", "a", "b"]}, "not unique"),
        ({"names": ["a", "b"]}, "features has 3 rows for 2"),
        ({"made_by": {"encoder": "x"}}, "is not whole"),
        ({"made_by": None}, "is not whole"),
        ({"dataset": 3}, "dataset is 3, wanted str"),
        ({"names": ["a", "b", 3]}, "names[2] is 3, wanted str"),
        ({"names": None}, "names is no list"),
        ({"names": ["a.png", "b.png", "c.png"]}, "made_by.inputs lacks 'c.png'"),
        ({"features": torch.full((3, 7, 5), float("nan"))}, "features holds values that are not finite"),
        ({"features": torch.zeros(3, 7, 5).int()}, "features is torch.int32, wanted floating"),
        ({"features": torch.zeros(3, 7)}, "features is (3, 7), wanted (N, V, D)"),
        ({"features": [1, 2, 3]}, "features is a list, wanted Tensor"),
        ({"centres_deg": torch.zeros(6, 2)}, "centres_deg is (6, 2), where others have V = 7"),
    ],
)
def test_an_inconsistent_cache_is_refused_with_its_path(cache, change, words):
    torch.save({**torch.load(cache), **change}, cache)
    message = refusal(cache)
    assert words in message and str(cache) in message and "Rebuild it" in message


def test_a_missing_field_is_named(cache):
    content = torch.load(cache)
    del content["centres_deg"]
    torch.save(content, cache)
    assert "missing or unknown fields:\n  centres_deg" in refusal(cache)


def test_rows_join_by_name_and_missing_ones_are_counted(tmp_path):
    one = example(ViewportFeatures)
    assert require_names(one, ["sub/c.png", "b.png"], tmp_path / "v.pt") == [2, 0]
    with pytest.raises(ArtefactError) as caught:
        require_names(one, ["a.png", "x.png", "y.png"], tmp_path / "v.pt")
    assert "lacks 2 of 3 images of DS:\n  x.png\n  y.png\nComplete it: python viewport_encoder.py --dataset DS" in str(
        caught.value
    )
