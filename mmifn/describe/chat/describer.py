"""The source "openai": a vision-language model behind a server, asked about several panoramas at once."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from mmifn.core.errors import UserError
from mmifn.core.files import sha256_json
from mmifn.data.images import MAX_MEGAPIXELS
from mmifn.describe.chat.server import Refused, Server, choose_model
from mmifn.describe.conversation import CONTEXT, judged, pictures_of, question, shortened, what_is_shown
from mmifn.describe.generation import Answer, Identity, Item, identity_of
from mmifn.describe.settings import VlmSettings

_HOPELESS = 3  # refusals in a row from the first on, after which all would be refused


def data_uri(pixels: np.ndarray) -> str:
    """Return an image (H, W, 3) uint8 as PNG in a data URI: nothing is lost on the way."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


@dataclass
class ChatDescriber:
    """Asks a server's model; `concurrency` questions are under way at a time.

    model: its name on the server, None for the only one there. The revision of what a server serves cannot be known: a
    row's revision is "unverified+" and a hash of the settings.
    """

    server: Server
    model: str | None
    prompt: str
    settings: VlmSettings = field(default_factory=VlmSettings)
    concurrency: int = 4
    max_megapixels: float = MAX_MEGAPIXELS

    def __post_init__(self) -> None:
        self.model = choose_model(self.server, self.model)
        revision = f"unverified+{sha256_json([*self.settings.identity(), CONTEXT])[:8]}"
        shown = Path(self.model).resolve().name if Path(self.model).is_dir() else self.model  # no path of a machine in a row
        self.identity: Identity = identity_of("openai", shown, revision, self.prompt)

    def describe(self, items: list[Item]) -> Iterator[Answer]:
        """Yield one Answer per item as each comes. Raises UserError where no further question can succeed."""
        print(what_is_shown(self.identity.model, self.settings), file=sys.stderr)
        waiting: set[Future] = set()
        todo, cut, refused, answered = iter(items), 0, 0, False
        with ThreadPoolExecutor(self.concurrency) as pool:
            try:
                while True:
                    while len(waiting) < self.concurrency and (item := next(todo, None)) is not None:
                        waiting.add(pool.submit(self._ask, item))
                    if not waiting:
                        break
                    ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in ready:
                        answer, short, refusal = future.result()
                        cut, refused, answered = cut + short, refused + bool(refusal), answered or not refusal
                        if refused >= _HOPELESS and not answered:
                            raise UserError(f"the first {refused} questions to {self.server.url} were all refused, so no more "
                                            f"are asked; last: {refusal}")
                        yield answer
            finally:
                if waiting:  # stopped before the end: questions under way are not repeated
                    self.server.stop.set()
        if cut:
            print(shortened(cut, self.settings), file=sys.stderr)

    def _ask(self, item: Item) -> tuple[Answer, bool, str]:
        """Return the answer to one item, whether it was shortened, and the server's refusal ("" for none)."""
        try:
            pictures = pictures_of(item, self.settings, self.max_megapixels)
        except UserError as error:
            return Answer(item, failure=str(error)), False, ""
        content = [{"type": "image_url", "image_url": {"url": data_uri(pixels)}} for pixels in pictures]
        content.append({"type": "text", "text": question(self.prompt, len(pictures))})
        messages = [{"role": "user", "content": content}]
        if self.settings.system_prompt:
            messages.insert(0, {"role": "system", "content": self.settings.system_prompt})
        try:
            reply = self.server.complete(self.model, messages, self.settings.max_new_tokens)
        except Refused as error:
            return Answer(item, failure=str(error)), False, str(error)
        return *judged(item, reply.text, reply.cut, self.settings), ""
