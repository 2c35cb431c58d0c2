"""Plans that adapt the prior to every picture: what is learned from, rows, keys, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid.bench import adapting
from pellucid.bench.data import collect, load
from pellucid.bench.execute import Setting, execute
from pellucid.bench.measuring import number
from pellucid.bench.plan import Plan
from pellucid.bench.resolve import resolve
from pellucid.bench.run import bench
from pellucid.bench.store import Store
from pellucid.errors import ConfigError
from pellucid.operators import parse
from pellucid.problem import Problem

pytest.importorskip("lancedb")
pytest.importorskip("peft")

Plans = Callable[..., Plan]
STEPS = {"steps": 3, "rank": 2, "batch": 2, "crop": 8, "lr": 1e-2}
METHODS = [{"name": "ddnm", "nfe": 3}, {"name": "ddnm", "nfe": 3, "adapt": "near"}]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of seven pictures of one colour each and noise, by thumbnails."""
    from pellucid.retrieval import Index

    folder, rng = tmp_path_factory.mktemp("collection"), np.random.default_rng(0)
    for level in range(7):
        values = 40 * level + rng.integers(0, 12, (24, 24, 3))
        Image.fromarray(values.astype(np.uint8)).save(folder / f"grey-{level}.png")
    place = tmp_path_factory.mktemp("index") / "near.index"
    Index.create(place, "pixel").add(folder, licence="CC0")
    return place


def rows(folder: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    return {(row["label"], row["image"], row["seed"]): row for row in Store(folder).read()}


def near(index: Path | str = "", **changes: Any) -> dict[str, Any]:
    return {"near": {**STEPS, "collection": str(index), "neighbours": 2, **changes}}


def test_every_picture_gets_its_own_adapted_prior(plan: Plans, index: Path, tmp_path: Path) -> None:
    whole = plan(method=METHODS, adapt=near(index), seeds=[0, 1])
    assert bench(whole, tmp_path).failed == 0
    found = rows(tmp_path)
    assert {label for label, _, _ in found} == {"ddnm-3", "ddnm-3+near"}
    for name in "abc":
        plain, row, again = (
            found[key] for key in (("ddnm-3", name, 0), ("ddnm-3+near", name, 0), ("ddnm-3+near", name, 1))
        )
        assert plain["adapt"] is None and plain["adapt_steps"] is None and plain["neighbours"] is None
        assert (row["adapt"], row["adapt_steps"], row["batch"]) == ("near", 3, 1)
        assert row["adapt_seconds"] > 0 and row["search_seconds"] > 0 and row["measurement"] == plain["measurement"]
        assert row["psnr"] != plain["psnr"] and len(row["collection"]) == 64
        # The second seed found what the first had learned.
        assert (row["adapt_seconds"], row["nearest"]) == (again["adapt_seconds"], again["nearest"])
    assert len(list((tmp_path / "adapters").glob("*.safetensors"))) == 3


def test_the_row_is_what_the_library_gives(plan: Plans, index: Path, tmp_path: Path) -> None:
    from pellucid import load_prior, methods
    from pellucid.adapt import Adaptation, Lora, Training, adapt
    from pellucid.loop import reconstruct
    from pellucid.metrics import psnr
    from pellucid.retrieval import Index

    whole = plan(method=METHODS, adapt=near(index, own=True))
    bench(whole, tmp_path)
    row = rows(tmp_path)["ddnm-3+near", "b", 0]
    x = load(whole.data, collect(whole.data)[1].path)[None]
    operator = parse("bicubic:factor=4").build((3, 16, 16))
    problem = Problem(operator(x), operator)
    neighbours = Index.open(index).search_pictures(operator.pinv(problem.y).clamp(0, 1), 2, exact=True)
    assert json.loads(row["neighbours"]) == [one.name for one in neighbours]
    assert row["nearest"] == pytest.approx(neighbours[0].distance, rel=1e-3)
    how = Adaptation(Lora(2), Training(3, 1e-2), batch=2, crop=8, own=True)
    prior = load_prior(whole.prior.names[0], precision="float32")
    prior = adapt(prior, problem, [one.picture() for one in neighbours], how)  # type: ignore[arg-type]
    method = methods.get("ddnm").build(3, operator)
    result = reconstruct(problem, prior, method, seeds=[number("method", 0, "b")])
    assert row["psnr"] == pytest.approx(float(psnr(result.image, x)), abs=1e-4)


def keys(plan: Plan, label: str = "ddnm-3+near") -> list[str]:
    return [key for job in resolve(plan).jobs for key in job.keys if job.run.label == label]


def test_keys_know_the_table_and_what_lies_in_the_collection(plan: Plans, index: Path, tmp_path: Path) -> None:
    def made(index: Path = index, **changes: Any) -> Plan:
        return plan(method=METHODS, adapt=near(index, **changes))

    before = keys(made())
    assert keys(made()) == before
    for change in ({"steps": 4}, {"own": True}, {"pick": "random"}, {"collection_match": "[2-6]"}, {"seed": 1}):
        assert not set(before) & set(keys(made(**change))), change
    moved = tmp_path / "elsewhere"
    moved.symlink_to(index)
    assert keys(made(moved)) == before
    # Rows of the prior as it is do not know that there are tables.
    assert keys(made(), "ddnm-3") == keys(plan(), "ddnm-3")


def test_a_grown_collection_makes_new_rows(plan: Plans, tmp_path: Path) -> None:
    from pellucid.retrieval import Index

    def picture(name: str, level: int) -> Path:
        Image.fromarray(np.full((16, 16, 3), level, np.uint8)).save(tmp_path / name)
        return tmp_path / name

    place = Index.create(tmp_path / "index", "pixel")
    place.add([picture("1.png", 10), picture("2.png", 90)], near=False)
    whole = plan(method=METHODS, adapt=near(tmp_path / "index"))
    before = keys(whole)
    experiment = resolve(whole)
    place.add(picture("3.png", 200), near=False)
    assert not set(before) & set(keys(whole))
    # An experiment that is under way does not see what is added to it.
    setting = Setting(whole, "cpu", "float32", experiment.fingerprints, tmp_path / "out" / "pictures")
    job = next(job for job in experiment.jobs if job.run.adapt)
    (row, _) = execute(job, setting)["rows"]
    assert row["status"] == "ok" and row["key"] in before
    assert set(json.loads(row["neighbours"])) == {"1.png", "2.png"}
    assert row["collection"] == adapting.identity(whole.adapt["near"], job.collection)[1]


def test_unadapted_rows_keep_the_keys_that_they_had_before_there_was_adaptation(plan: Plans) -> None:
    import hashlib

    from pellucid.bench.jobs import _measured

    experiment = resolve(plan())
    job = experiment.jobs[0]
    options = job.run.options(parse("bicubic:factor=4").build((3, 16, 16)))
    fingerprint = next(iter(experiment.fingerprints.values()))
    context = [job.run.name, options, job.run.nfe, fingerprint, "float32", 0]
    text = json.dumps([*_measured(experiment.plan.data, job.level, job.images[0]), *context], sort_keys=True)
    assert job.keys[0] == hashlib.sha256(text.encode()).hexdigest()[:32]


@pytest.mark.parametrize("pick", ["neighbours", "random"])
def test_a_collection_is_narrowed_by_names_and_by_size(pick: str, plan: Plans, index: Path, tmp_path: Path) -> None:
    bench(plan(method=METHODS, adapt=near(index, pick=pick, collection_match="grey-[34]")), tmp_path)
    found = {row["image"]: json.loads(row["neighbours"]) for row in rows(tmp_path).values() if row["adapt"]}
    assert all(set(names) == {"grey-3.png", "grey-4.png"} for names in found.values())
    parts = []
    for size in (2, 4, 6, 0):
        table = plan(adapt=near(index, collection_size=size)).adapt["near"]
        chosen = adapting.collection(table)
        assert chosen is not None
        parts.append(set(chosen.ids))
    assert [len(part) for part in parts] == [2, 4, 6, 7] and parts[0] < parts[1] < parts[2] < parts[3]


def test_random_pictures_follow_from_the_pictures_name(plan: Plans, index: Path) -> None:
    chosen = adapting.collection(plan(adapt=near(index, pick="random")).adapt["near"])
    assert chosen is not None
    assert chosen.random(3, 5) == chosen.random(3, 5) and len({tuple(chosen.random(3, n)) for n in range(9)}) > 3
    # Among all of them, the nearest are those that the index finds.
    vector = chosen.index.embed(torch.full((3, 32, 32), 0.5))
    found, wanted = chosen.nearest(vector, 7), chosen.index.search(vector, 7, exact=True)
    assert [one.name for one in found] == [one.name for one in wanted] and found[0].name == "grey-3.png"
    assert [one.distance for one in found] == pytest.approx([one.distance for one in wanted], abs=1e-5)


def test_the_surroundings_of_the_crop_are_four_corners(plan: Plans, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    (tmp_path / "photos").mkdir()
    values = rng.integers(0, 255, (36, 48, 3), np.uint8)
    Image.fromarray(values).save(tmp_path / "photos" / "a.png")
    data = {"path": str(tmp_path / "photos"), "size": 16}
    whole = plan(data=data, method=METHODS, adapt=near(pick="truth-surroundings"))
    corners = adapting.surroundings(whole.data, collect(whole.data)[0])
    assert [tuple(c.shape) for c in corners] == [(3, 10, 16)] * 4
    for corner, (row, column) in zip(corners, ((0, 0), (0, 32), (26, 0), (26, 32)), strict=True):
        wanted = values[row : row + 10, column : column + 16].transpose(2, 0, 1) / 255
        assert np.allclose(corner.numpy(), wanted, atol=1e-6)
    assert bench(whole, tmp_path / "out").failed == 0
    row = rows(tmp_path / "out")["ddnm-3+near", "a", 0]
    assert len(json.loads(row["neighbours"])) == 4 and row["nearest"] is None and row["adapt_steps"] == 3


def test_the_measurement_alone_a_first_reconstruction_and_the_truth(plan: Plans, index: Path, tmp_path: Path) -> None:
    tables = {
        "own": {**STEPS, "pick": "none", "own": True},
        "both": near(index, query="both", first="ddnm")["near"],
        "first": near(index, query="reconstruction", first="ddnm")["near"],
        "truth": near(index, query="truth")["near"],
    }
    methods = [{"name": "ddnm", "nfe": 2, "label": name, "adapt": name} for name in tables]
    assert bench(plan(method=methods, adapt=tables), tmp_path).failed == 0
    found = rows(tmp_path)
    assert json.loads(found["own", "a", 0]["neighbours"]) == [] and found["own", "a", 0]["collection"] is None
    distances = {name: found[name, "a", 0]["nearest"] for name in ("both", "first", "truth")}
    assert len(set(distances.values())) == 3 and min(distances.values()) > 0


def test_copies_of_the_experiments_pictures_are_refused(plan: Plans, photos: Path, tmp_path: Path) -> None:
    from pellucid.retrieval import Index

    Image.open(photos / "b.png").save(tmp_path / "copy.jpg", quality=95)
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "black.png")
    Index.create(tmp_path / "index", "pixel").add([tmp_path / "copy.jpg", tmp_path / "black.png"])

    def whole(**changes: Any) -> Plan:
        return plan(method=METHODS, adapt=near(tmp_path / "index", **changes))

    with pytest.raises(ConfigError, match=r"\[adapt.near\].*holds copies.*copy.jpg \(of b\)"):
        resolve(whole())
    resolve(whole(allow_duplicates=True))
    resolve(whole(neighbours=1, collection_match="black"))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"pick": "nearest"}, "pick is one of neighbours"),
        ({"pick": "none"}, "nothing to learn from"),
        ({"collection": ""}, "needs a collection"),
        ({"steps": 1.5}, "steps is a whole number"),
        ({"lr": 0}, "lr must be above 0"),
        ({"crop": 4}, "crop is a whole number from 8"),
        ({"collection_match": "("}, "no regular expression"),
        ({"ranks": 4}, "unknown key 'ranks'"),
    ],
)
def test_a_wrong_table_is_named(changes: dict[str, Any], text: str, plan: Plans) -> None:
    with pytest.raises(ConfigError, match=rf"\[adapt.near\].*{text}"):
        plan(method=METHODS, adapt=near("somewhere", **changes))


def test_what_can_be_known_beforehand_is_said_at_once(plan: Plans, index: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no \[adapt.near\]"):
        plan(method=METHODS)
    with pytest.raises(ConfigError, match="pellucid index build"):
        resolve(plan(method=METHODS, adapt=near("no/where.index")))
    with pytest.raises(ConfigError, match=r"holds 7 pictures.*neighbours = 8"):
        resolve(plan(method=METHODS, adapt=near(index, neighbours=8)))
    with pytest.raises(ConfigError, match="of the embedder pixel:32, not of effnet"):
        resolve(plan(method=METHODS, adapt=near(index, embedder="effnet")))
    with pytest.raises(ConfigError, match="8 x 8 at least"):
        resolve(plan(method=METHODS, adapt=near(pick="truth-surroundings")))
    jpeg = [{"name": "jpeg", "operator": "jpeg:quality=40"}]
    dps = [{"name": "dps", "nfe": 3, "adapt": "near"}]
    small = [{"name": "small", "operator": "compose:[bicubic:factor=4],[jpeg:quality=40]"}]
    for own, query in ((True, "reconstruction"), (False, "measurement"), (False, "both")):
        with pytest.raises(ConfigError, match="takes the measurement for a picture"):
            resolve(plan(task=small, method=dps, adapt=near(index, own=own, query=query, first="dps")))
    resolve(plan(task=small, method=dps, adapt=near(index, query="reconstruction", first="dps")))
    resolve(plan(task=jpeg, method=dps, adapt=near(index, own=True)))  # y is a picture of the right size


def test_a_damaged_adapter_is_learned_again(plan: Plans, index: Path, tmp_path: Path) -> None:
    whole = plan(method=METHODS[1:], adapt=near(index))
    bench(whole, tmp_path)
    first = rows(tmp_path)["ddnm-3+near", "a", 0]
    for path in (tmp_path / "adapters").glob("*.safetensors"):
        path.write_bytes(b"no adapter")
    (tmp_path / "rows.parquet").unlink()
    assert bench(whole, tmp_path).failed == 0
    again = rows(tmp_path)["ddnm-3+near", "a", 0]
    assert again["psnr"] == first["psnr"] and again["neighbours"] == first["neighbours"]
