"""The folder of a fleet's results: rows as Parquet, what has been scored, and of which model it all is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmifn.core.errors import UserError
from mmifn.core.json_text import parse_json
from mmifn.scoring.fleet.manifest import KEY
from mmifn.scoring.fleet.places import filesystem_of, inside, written
from mmifn.scoring.listing import Shard
from mmifn.scoring.parquet import damage_told

SCHEMA = "fleet/1"
_ABOUT = "fleet.json"
_MANIFEST = "manifest"
_PENDING = ".pending.parquet"  # of Ray: rows that were being written when a run was killed
_REMEDY = "bring the damaged file back from a copy, or name a new folder"


@dataclass(frozen=True)
class Folder:
    """Where results go, a path or an address; identity: of the model; shard: the part of the images that this run scores."""

    place: str
    identity: str
    shard: Shard

    @property
    def _part(self) -> str:
        return "all" if self.shard.count == 1 else f"{self.shard.number:05d}-of-{self.shard.count:05d}"

    @property
    def rows(self) -> str:
        return inside(self.place, "rows")

    @property
    def manifest(self) -> str:
        return inside(self.place, _MANIFEST, f"{self._part}.parquet")

    @property
    def checkpoint(self) -> str:
        return inside(self.place, "checkpoint", self.identity, self._part)

    def begun(self) -> bool:
        """Tell whether it is a folder of results. Raises UserError where it is of another model or other shards, or damaged."""
        from pyarrow.fs import FileType

        files, path = filesystem_of(self.place)
        about = f"{path.rstrip('/')}/{_ABOUT}"
        if files.get_file_info(about).type != FileType.File:
            return False
        with files.open_input_stream(about) as stream:
            self._compare(stream.read())
        return True

    def check(self) -> None:
        """Raise UserError where it is no folder of these results and cannot become one."""
        from pyarrow.fs import FileSelector, FileType

        if self.begun():
            return
        files, path = filesystem_of(self.place)
        kind = files.get_file_info(path).type
        if kind == FileType.File:
            raise UserError(f"--out {self.place} is a file; name a folder")
        inside_it = files.get_file_info(FileSelector(path, allow_not_found=True)) if kind == FileType.Directory else []
        if foreign := [info.base_name for info in inside_it if info.base_name != _MANIFEST]:  # which runs look at beforehand
            raise UserError(f"--out {self.place} holds {foreign[0]}, which is not of a fleet; name a new folder")

    def open(self) -> None:
        """Make it a folder of these results, where it is none yet."""
        self.check()
        if not self.begun():
            with written(inside(self.place, _ABOUT)) as stream:
                stream.write(json.dumps(self._about, indent=1).encode())
        files, path = filesystem_of(self.rows)
        files.create_dir(path, recursive=True)

    @property
    def _about(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "model": self.identity, "shards": self.shard.count}

    def _compare(self, content: bytes) -> None:
        """Raise UserError where fleet.json, which holds that, is of other results than these."""
        mine = self._about
        try:
            there = parse_json(content)
            names = {name: there[name] for name in mine}
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{inside(self.place, _ABOUT)} is damaged; name a new folder, or remove this one") from error
        for name, title in (("schema", "form"), ("model", "model"), ("shards", "number of shards")):
            if names[name] != mine[name]:
                raise UserError(f"--out {self.place} holds results of another {title}: found {names[name]}, this run has "
                                f"{mine[name]}; go on with what they were made by, or name a new folder")

    def done(self) -> np.ndarray:
        """Return the keys of all rows of this shard that are safely written."""
        from pyarrow.fs import FileSelector, FileType

        files, path = filesystem_of(self.checkpoint)
        found = files.get_file_info(FileSelector(path, allow_not_found=True))
        names = [info.path for info in found if info.type == FileType.File and not info.path.endswith(_PENDING)]
        if not names:
            return np.empty(0, np.int64)
        with damage_told(f"what is done in {self.checkpoint} cannot be read", _REMEDY):
            return self._dataset(names, files).to_table(columns=[KEY])[KEY].to_numpy()

    def results(self, keys: np.ndarray) -> Any:
        """Yield batches of key, path, score and error of all rows whose keys are among these, sorted ones."""
        import pyarrow as pa

        files, path = filesystem_of(self.rows)
        with damage_told(f"the rows of {self.rows} cannot be read", _REMEDY):
            for batch in self._dataset(path, files).to_batches(columns=[KEY, "image", "score", "error"]):
                yield batch.filter(pa.array(np.isin(batch[KEY].to_numpy(), keys)))

    @staticmethod
    def _dataset(place: str | list[str], files: Any) -> Any:
        import pyarrow.dataset as pads

        checked = pads.ParquetFragmentScanOptions(page_checksum_verification=True)  # where the files have checksums
        return pads.dataset(place, format=pads.ParquetFileFormat(default_fragment_scan_options=checked), filesystem=files)
