"""Images that are scored in one pass of the networks: the values of one by one, and a bad one costs no other."""

import numpy as np
import pytest
import torch
from PIL import Image
from skips import NO_CUDA
from stand_in import needs_encoders, panorama, write_model

from mmifn.core.errors import UserError
from mmifn.scoring import files
from mmifn.scoring.files import ImageJob, Task, score_batch, score_job
from mmifn.scoring.panorama import Predictor

pytestmark = needs_encoders
NAMES = ("a", "damaged", "b", "missing", "c")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """Three panoramas; between them one that ends early, and one that is not there."""
    folder = tmp_path_factory.mktemp("batch")
    for seed, name in enumerate(("a", "b", "c", "damaged")):
        Image.fromarray(panorama(256, seed)).save(folder / f"{name}.png")
    (folder / "damaged.png").write_bytes((folder / "damaged.png").read_bytes()[:9000])
    task = Task(checkpoint=write_model(folder / "m.safetensors"), device="cpu")
    return [ImageJob(folder / f"{name}.png", name, task) for name in NAMES]


@pytest.fixture
def passes(monkeypatch):
    """How many images went through the networks at a time; more at once than `most` do not fit into memory."""
    counts, most, score_spheres = [], [99], Predictor.score_spheres

    def scored(self, spheres, names):
        counts.append(len(spheres))
        if len(spheres) > most[0]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return score_spheres(self, spheres, names)

    monkeypatch.setattr(Predictor, "score_spheres", scored)
    return counts, most


def same(found, wanted, score, view):
    """Compare rows: all but the numbers equal, these within so many points."""
    for one, other in zip(found, wanted, strict=True):
        one, other = dict(one.row), dict(other.row)
        if "error" not in other:
            numbers = [name for name, value in other.items() if isinstance(value, float)]
            assert [one.pop(name) for name in numbers] == pytest.approx([other.pop(name) for name in numbers], abs=score)
            np.testing.assert_allclose(one.pop("viewports"), other.pop("viewports"), rtol=0, atol=view)
        assert one == other


def test_a_batch_gives_the_rows_of_one_by_one_and_bad_images_their_errors(jobs, passes):
    alone = [score_job(job) for job in jobs]
    assert passes[0] == [1, 1, 1]
    together = score_batch(jobs)
    assert passes[0] == [1, 1, 1, 3] and [result.job for result in together] == jobs
    assert "truncated or damaged" in together[1].error and "does not exist" in together[3].error
    same(together, alone, score=2e-3, view=5e-3)
    assert len({result.row.get("score") for result in together}) == 4


def test_short_memory_costs_a_pass_and_no_image(jobs, passes, monkeypatch):
    alone = [score_job(job).row for job in jobs]
    passes[0].clear()
    passes[1][0] = 1
    assert [result.row for result in score_batch(jobs)] == alone  # the very values of one by one
    assert passes[0] == [3, 1, 1, 1]
    passes[0].clear()
    passes[1][0] = 0
    errors = [result.error for result in score_batch(jobs[:1] + jobs[2:3])]
    assert passes[0] == [2, 1, 1] and all("does not fit into memory" in error for error in errors)


def test_large_panoramas_go_in_several_passes(jobs, passes, monkeypatch):
    monkeypatch.setattr(files, "_TOGETHER_BYTES", 2 * 256 * 128 * 3)
    assert [result.row["image"] for result in score_batch(jobs)] == list(NAMES)
    assert passes[0] == [2, 1]
    assert score_batch([]) == []


def test_one_that_cannot_be_scored_is_found_in_its_pass(jobs, monkeypatch):
    def scored(self, spheres, names):
        if any(name.endswith("b.png") for name in names):
            raise UserError("one of them has no views")
        return score_spheres(self, spheres, names)

    score_spheres = Predictor.score_spheres
    monkeypatch.setattr(Predictor, "score_spheres", scored)
    found = {result.job.label: result for result in score_batch(jobs)}
    assert found["b"].error == "one of them has no views" and not found["a"].error and not found["c"].error

    def broken(self, spheres, names):
        raise RuntimeError("a fault of the program")

    monkeypatch.setattr(Predictor, "score_spheres", broken)
    with pytest.raises(RuntimeError, match="a fault"):
        score_batch(jobs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_CUDA)
def test_a_batch_on_a_gpu_gives_the_rows_of_one_by_one(jobs):
    on_gpu = [ImageJob(job.path, job.label, Task(checkpoint=job.task.checkpoint, device="cuda")) for job in jobs]
    same(score_batch(on_gpu), [score_job(job) for job in on_gpu], score=0.05, view=0.05)
