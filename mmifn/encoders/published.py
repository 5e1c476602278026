"""Weights that have to be downloaded: where they are published, whether they are here, and a quick word where no network is."""

from __future__ import annotations

import os
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from mmifn.core.errors import UserError

WAIT_VARIABLE = "MMIFN_NETWORK_WAIT_S"
WAIT_S = 1.8  # for the first answer of a publisher; the hub's own client goes on trying for half a minute and more
_OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
# Sizes of published files, in bytes, where no network can be asked.
BERT_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "model.safetensors")
TEXT_BYTES = {"google-bert/bert-base-uncased": 440_449_768}


class DownloadFailed(UserError):
    """A file that could not be fetched whole."""


@dataclass(frozen=True)
class Published:
    """A network's weights as published.

    url: of the file; about_bytes: its size, 0 where not known; place: where a copy is found again; flag: what takes a copy
    that lies elsewhere.
    """

    network: str
    url: str
    about_bytes: int
    place: str
    flag: str

    def lines(self) -> str:
        """Return what has to be fetched, from where and to where."""
        size = f"about {self.about_bytes / 1e6:.0f} MB" if self.about_bytes else "size not known here"
        return f"  from  {self.url} ({size})\n  to    {self.place}, or anywhere, and name it: {self.flag}"


def _hub() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


def hub_file(repository: str, name: str) -> str:
    """Return the address of a file on the model hub."""
    return f"{_hub()}/{repository}/resolve/main/{name}"


def cached_hub_file(repository: str, name: str) -> Path | None:
    """Return where the hub's client keeps a file that was downloaded before, or None."""
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(repository, name)
    return Path(cached) if isinstance(cached, str) else None


def hub_place(repository: str) -> str:
    """Return the folder in which the hub's client keeps a repository."""
    from huggingface_hub import constants

    return str(Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}")


def published_text(name: str) -> Published:
    """Return the weights of a text encoder on the hub."""
    return Published(name, hub_file(name, "model.safetensors"), TEXT_BYTES.get(name, 0),
                     f"{hub_place(name)} (by the hub's client: hf download {name})",
                     f"--text-encoder DIR (a folder with {', '.join(BERT_FILES)})")


def published_views(name: str, repository: str, parameters: int) -> Published:
    """Return the weights of a timm model on the hub; parameters: with its classifier, four bytes each."""
    return Published(name, hub_file(repository, "model.safetensors"), 4 * parameters,
                     f"{hub_place(repository)} (by the hub's client: hf download {repository})", "--viewport-weights FILE")


def require_publisher(published: Published) -> None:
    """Raise DownloadFailed within about two seconds where the publisher cannot be reached.

    The message names the address, the file, its size and where a copy goes. $MMIFN_NETWORK_WAIT_S waits longer.
    """
    reason = unreachable(published.url)
    if reason:
        raise DownloadFailed(f"the weights of {published.network} are not here and cannot be downloaded: {reason}.\n"
                             f"Fetch them where there is a network:\n{published.lines()}\n"
                             "Or do without: --preset offline (weights from installed packages).")


def unreachable(url: str) -> str:
    """Return why a publisher cannot be reached, "" where it answers anything at all."""
    if url.startswith(_hub()):
        for variable in _OFFLINE_VARIABLES:
            if os.environ.get(variable, "").lower() in ("1", "true", "yes", "on"):
                return f"{variable} is set"
    try:
        wait_s = float(os.environ.get(WAIT_VARIABLE) or WAIT_S)
    except ValueError:
        raise UserError(f"{WAIT_VARIABLE}={os.environ[WAIT_VARIABLE]}: wanted a number of seconds") from None
    answers: list[str | None] = []
    # In a thread: looking a name up may hang for longer than any time limit that can be set for it.
    thread = threading.Thread(target=lambda: answers.append(_ask(url, wait_s)), daemon=True)
    thread.start()
    thread.join(wait_s)
    answer = answers[0] if answers else None
    return f"no answer within {wait_s:g} s ({WAIT_VARIABLE} waits longer)" if answer is None else answer


def _ask(url: str, wait_s: float) -> str | None:
    """Return why there is no answer, "" where there is one, None where the time was over."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=wait_s).close()
    except urllib.error.HTTPError:
        return ""  # an answer; what it means is told by the download
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return None if isinstance(reason, TimeoutError) else str(reason)
    return ""
