"""Choose a source of descriptions from the flags of generate_text.py."""

from __future__ import annotations

import argparse

from mmifn.core.device import resolve_device
from mmifn.core.errors import UserError
from mmifn.describe.depictqa.checkout import open_checkout
from mmifn.describe.generation import Describer
from mmifn.describe.settings import DEFAULT_MODEL, DEFAULT_PROMPT, VlmSettings
from mmifn.encoders.presets import PRESETS


def _check_numbers(args: argparse.Namespace) -> None:
    """Refuse, all in one message, impossible numbers and an empty prompt."""
    lowest = {"workers": 1, "batch_size": 1, "max_new_tokens": 1, "erp_height_px": 32, "view_px": 28, "views": 0,
              "concurrency": 1, "timeout": 1}
    wrong = [f"--{name.replace('_px', '').replace('_', '-')} {getattr(args, name)}: at least {least} is needed"
             for name, least in lowest.items() if getattr(args, name) < least]
    if args.views > 6:
        wrong.append(f"--views {args.views}: at most 6 are shown beside the panorama")
    if args.limit is not None and args.limit < 1:
        wrong.append(f"--limit {args.limit}: at least 1 is needed")
    if args.prompt is not None and not args.prompt.strip():
        wrong.append("--prompt is empty")
    if wrong:
        raise UserError("\n".join(wrong))


def chosen_source(args: argparse.Namespace) -> str:
    """Return the source that the flags ask for, by name or by preset."""
    return args.source or PRESETS[args.preset].description


def lacks_its_source(args: argparse.Namespace) -> bool:
    """Tell whether the source is a checkout of DepictQA and none was named: then nothing can be described or compared."""
    return chosen_source(args) == "depictqa" and args.depictqa_dir is None and args.depictqa_python is None


def make_describer(args: argparse.Namespace) -> Describer:
    """Return the describer that the flags ask for.

    Raises UserError for impossible numbers, and for a prompt where the source asks nothing.
    """
    _check_numbers(args)
    source = chosen_source(args)
    if source == "measured":
        from mmifn.describe.measured.describer import MeasuredDescriber

        if args.prompt is not None:
            raise UserError("--prompt has no meaning for --source measured: it is not asked, it measures")
        return MeasuredDescriber(args.workers, args.max_megapixels)
    prompt = args.prompt if args.prompt is not None else DEFAULT_PROMPT
    if source == "depictqa":
        from mmifn.describe.depictqa.describer import DepictQADescriber

        checkout = open_checkout(args.depictqa_dir, args.depictqa_python, args.depictqa_experiment,
                                 args.depictqa_weights)
        return DepictQADescriber(checkout, prompt, args.max_megapixels)
    settings = VlmSettings(**{name: getattr(args, name) for name in vars(VlmSettings())})
    if source == "openai":
        return _chat_describer(args, prompt, settings)
    from mmifn.describe.vlm import VlmDescriber

    return VlmDescriber(args.model or DEFAULT_MODEL, prompt, resolve_device(args.device), settings, args.max_megapixels)


def _chat_describer(args: argparse.Namespace, prompt: str, settings: VlmSettings) -> Describer:
    from mmifn.describe.chat.describer import ChatDescriber
    from mmifn.describe.chat.server import DEFAULT_URL, Server, checked_url, key_from

    key = key_from(args.api_key_env)
    server = Server(checked_url(args.base_url or DEFAULT_URL, args.allow_host, bool(key)), key, args.timeout)
    return ChatDescriber(server, args.model, prompt, settings, args.concurrency, args.max_megapixels)
