"""Images are listed one by one, each once, under names that do not depend on each other; shards share them out by name."""

import hashlib
import io
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmifn.core.errors import UserError
from mmifn.scoring import listing
from mmifn.scoring.listing import Listing, Seen, Shard

ROOT = str(Path(__file__).resolve().parents[2])


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Pictures in folders, and what is none; the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.jpg", "a.PNG", "sub/c.jpg", "sub/deep/d.webp", ".hidden.jpg", ".trash/e.jpg", "a.jpg/map.png", "notes.txt"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return Path("photos")


def labels(*places, **kwargs):
    return [label for label, _ in Listing(tuple(map(Path, places)), **kwargs)]


def test_folders_come_in_the_order_of_names(photos):
    assert labels(photos) == ["a.PNG", "b.jpg", "sub/c.jpg", "sub/deep/d.webp"]
    assert all(path.is_file() for _, path in Listing((photos,)))


def test_what_is_passed_over_is_counted_by_kind(photos):
    for name in ("x.gif", "sub/y.GIF", "clip.mp4", "README", "a.mpo", "s.hdr", "p.heic"):
        (photos / name).touch()
    assert Listing((photos, photos / "notes.txt")).passed_over() == {".gif": 2, ".mp4": 1, ".txt": 1, "without extension": 1}
    assert {"a.mpo", "s.hdr", "p.heic"} < set(labels(photos))


@pytest.mark.parametrize("address", ["https://example.org/a.jpg", "s3://bucket/a.jpg"])
def test_addresses_are_not_fetched(address):
    with pytest.raises(UserError, match="addresses are not fetched; download the picture"):
        labels(address)


def test_a_label_does_not_change_when_images_come_and_go(photos):
    for name in ("a.PNG", "b.jpg"):
        (photos / name).unlink()
    assert labels(photos) == ["sub/c.jpg", "sub/deep/d.webp"]  # not "c.jpg", although all images are in sub
    assert labels("photos/sub/c.jpg") == ["c.jpg"]
    assert labels("photos/sub", "photos/sub/../sub/c.jpg") == ["c.jpg", "deep/d.webp"]


def test_a_list_gives_its_lines_as_labels(photos, tmp_path):
    odd = os.fsdecode(b"photos/\xff.jpg")
    Path("list").write_bytes("photos/b.jpg\r\n\nphotos/größe 图.jpg\nphotos/b.jpg\n".encode() + os.fsencode(odd))
    names = ["photos/b.jpg", "photos/größe 图.jpg"]
    assert list(Listing(source="list")) == [*((name, Path(name)) for name in names), ("photos/\\xff.jpg", Path(odd))]


def test_a_pipe_is_read_line_by_line(monkeypatch):
    class Pipe(io.BytesIO):
        """Lines of which no more may be read than were asked for."""

        read = readlines = None

    monkeypatch.setattr(listing.sys, "stdin", type("", (), {"buffer": Pipe(b"a.jpg\nb.jpg\nc.jpg\n")}))
    pairs = iter(Listing(source="-"))
    assert next(pairs) == ("a.jpg", Path("a.jpg")) and listing.sys.stdin.buffer.tell() == 6
    assert [label for label, _ in pairs] == ["b.jpg", "c.jpg"]
    assert not Listing(source="-").repeatable and Listing(source="list").repeatable


def test_shards_share_all_images_by_their_names_alone(tmp_path):
    names = [f"folder {i % 7}/{i}.jpg" for i in range(300)]
    (tmp_path / "list").write_text("\n".join(names))
    parts = [labels(source=str(tmp_path / "list"), shard=Shard(number, 3)) for number in (1, 2, 3)]
    assert sorted(itertools.chain(*parts)) == sorted(names) and all(70 < len(part) < 130 for part in parts)
    for number, part in enumerate(parts):
        assert {int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) % 3 for name in part} == {number}


@pytest.mark.parametrize(("text", "message"), [
    ("0/4", "0/4 is out of range: of 4 shards there are 1/4 to 4/4"), ("5/4", "out of range"), ("1/0", "out of range"),
    ("4", "wanted I/N"), ("a/b", "wanted I/N"), ("-1/4", "wanted I/N"), ("1/4/2", "wanted I/N"), ("", "wanted I/N"),
])  # fmt: skip
def test_other_shards_are_refused(text, message):
    assert Shard.parse("3/16") == Shard(3, 16) and Shard.parse("1/1").holds("anything")
    with pytest.raises(UserError, match=message):
        Shard.parse(text)


def test_numbers_are_seen_once_however_many_there_are(monkeypatch):
    monkeypatch.setattr(listing, "_NEW_LABELS", 10)
    seen, numbers = Seen(), [2**64 - 1 - 7 * (i % 45) for i in range(100)]
    assert [seen.add(number) for number in numbers] == [True] * 45 + [False] * 55
    assert len(seen._new) < 10


def test_who_hands_out_the_work_loads_nothing_that_computes(photos, tmp_path):
    """With several workers: 300 MB are enough for any number of images, and torch alone takes 200."""
    code = ("import sys; from mmifn.cli import score; from mmifn.scoring import run; run.identity_of = lambda *args: 'm'; "
            "run.score_jobs = lambda jobs, workers: [list(jobs)[9:]][0]; "
            "code = score.main(['photos', '--workers', '2', '--device', 'cpu', '--json', 'r.json', '--csv', 'r.csv']); "
            "print(code, [name for name in ('torch', 'scipy', 'cv2', 'pandas', 'transformers') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ROOT},
                          check=True)
    assert done.stdout.split("\n")[-2] == "0 []"


def test_what_is_not_there_is_said_before_anything_else(photos, tmp_path):
    (tmp_path / "empty").mkdir()
    for places, message in ((("photos", "none"), "none does not exist"), (("photos", "empty"), "empty holds no images")):
        with pytest.raises(UserError, match=message):
            next(iter(Listing(tuple(map(Path, places)))))
    with pytest.raises(UserError, match="--list none does not exist"):
        next(iter(Listing(source="none")))
