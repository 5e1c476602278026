"""Stage 2 of 10: encode the quality descriptions with a frozen text encoder.

Reads   text/des.csv, datasets/<DS>/des.csv
Writes  features/<DS>/text_features.pt   (TextFeatures: token features, mask, pooled vector)
"""

from __future__ import annotations

import argparse
import sys

from mmifn.cli.flags import (
    add_device_argument,
    add_preset_argument,
    add_root_argument,
    add_text_encoder_argument,
    command_parser,
)
from mmifn.cli.stages import heading
from mmifn.core.device import announced_device
from mmifn.core.errors import UserError, user_main
from mmifn.data.workspace import Workspace
from mmifn.encoders.presets import choose


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    parser.add_argument("--dataset", action="append", metavar="DS",
                        help="database to encode; may be given again (default: every one in the workspace)")
    add_root_argument(parser)
    add_preset_argument(parser)
    add_device_argument(parser)
    add_text_encoder_argument(parser)
    parser.add_argument("--per-viewport", action="store_true", help="give each viewport its own words, which LIT then reads; "
                        "made by generate_text.py --per-viewport")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="texts at once (default: %(default)s)")
    return parser


@user_main
def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from mmifn.core.artefact import save
    from mmifn.data.manifest import read_manifest
    from mmifn.describe.inputs import VIEWPORTS
    from mmifn.describe.table import read_descriptions
    from mmifn.encoders.text import MAX_TOKENS, encode_descriptions, load_text_encoder, with_viewport_words

    workspace = Workspace(args.root)
    if args.batch_size < 1:
        raise UserError(f"--batch-size {args.batch_size}: at least 1 is needed")
    known = workspace.datasets()
    datasets = args.dataset or known
    if not datasets:
        raise UserError(f"{workspace.root / 'datasets'} has no database with a des.csv; make one with "
                        "prepare_dataset.py or simulate_dataset.py")
    device = announced_device(args.device)
    name = choose(args.preset, text=args.text_encoder).text
    names = {dataset: read_manifest(workspace.manifest(dataset), dataset).names for dataset in {*datasets, *known}}
    print(f"{heading('text_encoder')}: encoding the descriptions of {', '.join(datasets)} with {name} on {device}",
          file=sys.stderr)
    texts = {dataset: read_descriptions(workspace.descriptions, dataset, names[dataset], others=names) for dataset in datasets}
    of_views = {dataset: [read_descriptions(workspace.descriptions, dataset, names[dataset], others=names, viewport=f"{view:02d}")
                          for view in range(VIEWPORTS)] for dataset in datasets if args.per_viewport}
    encoder = load_text_encoder(name, device)
    for dataset in datasets:
        features, cut = encode_descriptions(dataset, texts[dataset], encoder, batch_size=args.batch_size)
        if args.per_viewport:
            words = {image: [texts_of[image] for texts_of in of_views[dataset]] for image in names[dataset]}
            features = with_viewport_words(features, words, encoder, batch_size=args.batch_size)
        path = workspace.features(dataset, "text_features")
        save(features, path)
        n, t, d = features.tokens.shape
        print(f"{path}: {n} descriptions, up to {t} tokens of {d} dims; {len(cut)} cut at {MAX_TOKENS} tokens"
              + (f" (first: {cut[0]})" if cut else "") + (f"; words of {VIEWPORTS} viewports" if args.per_viewport else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
