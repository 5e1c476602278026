"""What the names of further databases say of an image: its key, what it is, and how bad it must be."""

from pathlib import Path

import pytest

from mmifn.data.importers import iqa_odi, jufe, mvaqd, oiq10k, oiqa, own
from mmifn.data.importers.database import Slot
from mmifn.data.importers.scores import Score

LINE = Score("x", 3.0)


def slot_of(database, key, line=LINE):
    slot = database.slot_of(key, line)
    return slot.type, slot.level, slot.reference, dict(slot.extra)


@pytest.mark.parametrize(("module", "names", "others"), [
    (iqa_odi, ["QF5_ERP_human_P13", "QF60_cmp_city_P0", "human_P13"],
     ["QF50_ERP_human_P13", "QF5_erp2_human_P13", "human", "P13"]),
    (jufe, ["7_len5_bd_1", "276_len6_len_3_st_3"], ["7_len5_bd_4", "7_len5_xx_1", "len5_bd_1", "ref1"]),
    (oiq10k, ["ref1", "DIS2484", "9_len5_gn_2"], ["ref", "ref1_2", "9_len5_gn_0"]),
])  # fmt: skip
def test_a_key_is_the_stem_of_a_name_that_belongs(module, names, others):
    assert [module.DATABASE.key(Path(f"{name}.png")) for name in names] == names
    assert [module.DATABASE.key(Path(f"{name}.png")) for name in others] == [None] * len(others)


@pytest.mark.parametrize(("path", "key"), [
    ("distorted_images/img1.jpg", "img1"), ("distorted_images/IMG0320.png", "img320"), ("distorted_images/img336.png", "img336"),
    ("reference_images/1.png", "img321"), ("reference_images/ref_016.jpg", "img336"), ("reference_images/img336.png", "img336"),
    ("distorted_images/img0.jpg", None), ("distorted_images/img337.jpg", None), ("distorted_images/7.jpg", None),
    ("reference_images/sky.png", None),
])
def test_oiqa_counts_320_images_and_16_references_behind_them(path, key):
    assert oiqa._key(Path(path)) == key


def test_mvaqd_counts_to_315():
    keys = {name: mvaqd.DATABASE.key(Path(name)) for name in ("1.png", "007.png", "315.jpg", "0.png", "316.png", "a1.png")}
    assert keys == {"1.png": "1", "007.png": "7", "315.jpg": "315", "0.png": None, "316.png": None, "a1.png": None}
    assert mvaqd.DATABASE.slot_of("16", Score("16.png", 4.0, reference="001.png")) == Slot("unknown", 0, "1")
    assert mvaqd.DATABASE.slot_of("16", Score("16.png", 4.0)) == Slot("unknown", 0, "")


def test_iqa_odi_orders_plain_jpegs_only():
    database = iqa_odi.DATABASE
    severities = {name: database.severity(f"{name}_P13") for name in
                  ("QF60_ERP_a", "QF35_ERP_a", "QF15_ERP_a", "QF5_ERP_a", "QF15_isp_a", "a")}
    assert list(severities.values()) == [1.0, 2.0, 3.0, 4.0, None, None]
    assert slot_of(database, "QF35_ERP_human_P13") == ("JPEG", 2, "human_P13", {"projection": "ERP"})
    assert slot_of(database, "QF15_ohp_city_P0") == ("JPEG in OHP", 3, "city_P0", {"projection": "OHP"})
    assert (database.images, database.scenes, database.scales) == (960, 120, ("0-100",))


def test_lenses_are_counted_and_named():
    assert slot_of(jufe.DATABASE, "7_len5_bd_1") == ("brightness", 1, "007", {"distortion_range": "1 of 6 lenses", "lenses": "5"})
    assert slot_of(jufe.DATABASE, "276_len6_len_3_st_3") == (
        "stitching", 3, "276", {"distortion_range": "2 of 6 lenses", "lenses": "6+3"})
    assert [jufe.DATABASE.severity(f"7_len5_gn_{degree}") for degree in (1, 2, 3)] == [1.0, 2.0, 3.0]
    assert slot_of(oiq10k.DATABASE, "9_len5_len2_gn_2") == (
        "GN", 2, "lenses-009", {"distortion_range": "2 of 6 lenses", "lenses": "5+2"})


def test_oiq_10k_orders_its_four_situations():
    assert [oiq10k.DATABASE.severity(key) for key in ("REF1", "9_len5_gn_2", "9_len5_len2_gn_2", "dis3")] == [0.0, 1.0, 2.0, 3.0]
    assert slot_of(oiq10k.DATABASE, "REF1") == ("none", 0, "REF1", {"distortion_range": "none", "lenses": ""})
    assert slot_of(oiq10k.DATABASE, "dis3") == ("unknown", 0, "dis3", {"distortion_range": "all over", "lenses": ""})


def test_counts_and_scales_are_those_of_the_papers():
    databases = [module.DATABASE for module in (jufe, oiq10k, mvaqd)]
    facts = {database.name: (database.images, database.scenes, database.scales, database.judged) for database in databases}
    assert facts == {"JUFE-10K": (10320, 430, ("1-10",), (1.0, 5.0)), "OIQ-10K": (10000, None, ("1-10",), (1.0, 3.0)),
                     "MVAQD": (300, 15, ("1-10",), (1.0, 5.0))}


def test_a_users_own_database_takes_every_picture():
    database = own.own_database("MINE")
    assert (database.name, database.key(Path("a/b.png")), database.slots) == ("MINE", "b", None)
    assert database.scales == ("0-100", "1-10")
