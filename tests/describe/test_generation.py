"""A run resumes, repeats nothing, and makes again exactly what another prompt, model or image calls for."""

import pytest

import generate_text
from mmifn.core.errors import UserError
from mmifn.core.files import sha256_file
from mmifn.describe.answers import fault_of, whole_sentences
from mmifn.describe.generation import Answer, generate, identity_of, list_items
from mmifn.describe.journal import journal_of
from mmifn.describe.table import Row, append, read_rows, upsert, write_rows


class Scripted:
    """Answers every item with its name and a count; stops hard after `fuse` answers."""

    def __init__(self, prompt="p", model="m", revision="r", fuse=None, fail=(), source="vlm"):
        self.identity = identity_of(source, model, revision, prompt)
        self.asked, self.fuse, self.fail = [], fuse, fail

    def describe(self, items):
        for item in items:
            if self.fuse is not None and len(self.asked) >= self.fuse:
                raise KeyboardInterrupt
            self.asked.append(str(item))
            yield Answer(item, failure="no luck") if item.name in self.fail else Answer(item, f"text {item}")


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


def run(tmp_path, images, describer, viewports=0, **options):
    items = list_items([path.name for path in images], images, viewports)
    return generate(tmp_path / "text" / "des.csv", "DS", items, describer, **options)


def test_a_killed_run_resumes_and_repeats_nothing(tmp_path, images):
    first = Scripted(fuse=2)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, images, first)
    assert [row.image_name for row in read_rows(tmp_path / "text" / "des.csv")] == ["0.png", "1.png"]
    second = Scripted()
    assert run(tmp_path, images, second) == 2 and second.asked == ["2.png", "3.png"]
    third = Scripted()
    assert run(tmp_path, images, third) == 0 and third.asked == []


def test_a_run_with_nothing_to_do_merges_what_a_killed_one_appended(tmp_path, images):
    table = tmp_path / "text" / "des.csv"
    run(tmp_path, images, Scripted())
    rows = read_rows(table)
    write_rows(table, rows[:2])
    append(table, rows[2:])
    assert journal_of(table).exists()
    assert run(tmp_path, images, Scripted()) == 0 and not journal_of(table).exists()
    assert read_rows(table) == rows


def test_rows_carry_their_origin(tmp_path, images):
    run(tmp_path, images[:1], Scripted(prompt="How is it?"))
    row = read_rows(tmp_path / "text" / "des.csv")[0]
    assert (row.dataset, row.source, row.model, row.revision, row.description) == ("DS", "vlm", "m", "r", "text 0.png")
    assert row.image_sha256 == sha256_file(images[0])
    # sha256 of "How is it?", by `printf 'How is it?' | sha256sum`
    assert row.prompt_sha256 == "2154e034ffceceac6866ee01c1457be31379a5e76952446d9f3cc25c1117ee11"


@pytest.mark.parametrize("change", [{"prompt": "q"}, {"model": "n"}, {"revision": "s"}])
def test_another_prompt_model_or_revision_makes_all_again(tmp_path, images, change):
    run(tmp_path, images, Scripted())
    again = Scripted(**change)
    assert run(tmp_path, images, again) == 4 and len(again.asked) == 4
    assert len(read_rows(tmp_path / "text" / "des.csv")) == 4


def test_a_changed_image_is_made_again_alone(tmp_path, images):
    run(tmp_path, images, Scripted())
    images[2].write_bytes(b"other pixels")
    again = Scripted()
    run(tmp_path, images, again)
    assert again.asked == ["2.png"]


def test_other_datasets_stay(tmp_path, images):
    path = tmp_path / "text" / "des.csv"
    upsert(path, [Row("OTHER", "0.png", "theirs", "vlm", "m", "r")])
    run(tmp_path, images, Scripted())
    assert [row.description for row in read_rows(path) if row.dataset == "OTHER"] == ["theirs"]


def test_texts_by_hand_stay_until_asked(tmp_path, images):
    path = tmp_path / "text" / "des.csv"
    path.parent.mkdir()
    path.write_text("image_name,description\n1.png,my own words\n")
    kept = Scripted()
    run(tmp_path, images, kept)
    assert kept.asked == ["0.png", "2.png", "3.png"]
    replacing = Scripted()
    run(tmp_path, images, replacing, replace_supplied=True)
    assert replacing.asked == ["1.png"]


def test_texts_of_another_source_stay_until_asked(tmp_path, images, capsys):
    run(tmp_path, images[:3], Scripted(source="depictqa"))
    measured = Scripted(source="measured")
    assert run(tmp_path, images, measured) == 1 and measured.asked == ["3.png"]
    assert "3 of source depictqa, kept (--replace-others would replace them)" in capsys.readouterr().err
    replacing = Scripted(source="measured")
    assert run(tmp_path, images, replacing, replace_others=True) == 3
    assert {row.source for row in read_rows(tmp_path / "text" / "des.csv")} == {"measured"}


def test_where_everything_is_described_no_checkout_is_asked_for(tmp_path, images, capsys):
    folder = tmp_path / "datasets" / "DS" / "images"
    folder.mkdir(parents=True)
    for path in images:
        (folder / path.name).write_bytes(path.read_bytes())
    rows = "".join(f"{path.name},3,GN\n" for path in images)
    (folder.parent / "des.csv").write_text("image_name,MOS,distortion_type\n" + rows)
    run(tmp_path, images[:3], Scripted(source="depictqa"))
    argv = ["--root", str(tmp_path), "--dataset", "DS"]
    assert generate_text.main(argv) == 2 and "--depictqa-dir" in capsys.readouterr().err  # one is missing
    run(tmp_path, images, Scripted(source="depictqa"))
    before = (tmp_path / "text" / "des.csv").read_bytes()
    assert generate_text.main(argv) == 0 and "all 4 descriptions of DS are there" in capsys.readouterr().out
    assert generate_text.main([*argv, "--replace-others"]) == 2  # to replace texts, DepictQA is needed
    assert (tmp_path / "text" / "des.csv").read_bytes() == before


def test_limit_counts_images_of_this_run(tmp_path, images):
    first, second = Scripted(), Scripted()
    run(tmp_path, images, first, viewports=2, limit=1)
    assert first.asked == ["0.png", "0.png viewport 00", "0.png viewport 01"]
    run(tmp_path, images, second, viewports=2, limit=2)
    assert second.asked[::3] == ["1.png", "2.png"] and len(second.asked) == 6


def test_failures_are_listed_at_the_end_and_nothing_is_made_up(tmp_path, images):
    with pytest.raises(UserError) as caught:
        run(tmp_path, images, Scripted(fail=("1.png", "3.png")))
    assert "no usable text for 2 of 4" in str(caught.value) and "1.png: no luck" in str(caught.value)
    assert [row.image_name for row in read_rows(tmp_path / "text" / "des.csv")] == ["0.png", "2.png"]


@pytest.mark.parametrize(("text", "fault"), [
    ("", "empty"), (" \n", "empty"), ("...", "empty"), ("Bad.", "only 1 word"),
    ("blur blur blur blur blur blur", "again and again"),
    ("the image is the image is the image is the image is the image is the", "again and again"),
    ("It is fine. " + "noise, " * 40, "again and again"), ("a b " * 2 + "a c b " * 12, "again and again"),
    (" ".join(["very", "bad", "image", "quality", "here"][i * i % 5] for i in range(60)), "again and again"),
    ("Strong blocking hides texture; the sky shows bands, and the overall quality is poor.", ""),
    ("图像模糊，有明显的噪声。", ""), ("It is very, very, very blurred all over.", "")])
def test_degenerate_answers_are_told_from_real_ones(text, fault):
    assert (fault in fault_of(text)) if fault else fault_of(text) == ""


def test_few_words_in_many_are_degenerate_without_a_fixed_order():
    text = " ".join("abcd"[(i * i + i // 3) % 4] for i in range(80))
    assert "degenerate" in fault_of(text)


def test_whole_sentences():
    assert whole_sentences("It is blurred. It is 3.5 times noi") == "It is blurred."
    assert whole_sentences('He said "poor!" and then') == 'He said "poor!"'
    assert whole_sentences("no end in sight") == ""
