"""synalign push: a finished run or an aligned pool as a data set with a card."""

from __future__ import annotations

import argparse
from pathlib import Path

from .layout import HelpFormatter


def register(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "push",
        help="a data set with a card, on the Hugging Face hub or in a folder",
        description="Write the aligned rows of a run, or of 'synalign align', as a data set with a card:"
        " where the rows come from, how many of each label, how far from the real ones, what they are not"
        " for. With --to it is uploaded; your token is the one of 'hf auth login' or HF_TOKEN.",
        epilog="Examples:\n"
        "  synalign push runs/demo --local dataset\n"
        "  synalign push runs/demo --local s3://bucket/reviews\n"
        "  synalign push aligned --to me/reviews-synthetic --licence cc-by-4.0",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("folder", help="the run's folder, or the --out of 'synalign align'")
    parser.add_argument("--to", metavar="OWNER/NAME", help="a data set on the hub; made if it is not there")
    parser.add_argument(
        "--local",
        metavar="FOLDER",
        help="where the data set is written; may be a URL (default: FOLDER/dataset)",
    )
    parser.add_argument("--public", action="store_true", help="a new data set is for everybody to see")
    parser.add_argument(
        "--licence", default="other", metavar="ID", help="as the hub names it (default: other)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from synalign_jax.api.wiring import cache_folder
    from synalign_jax.pipeline.card import push_dataset, write_dataset
    from synalign_jax.pipeline.data.remote import outgoing

    source = Path(options.folder)
    place = options.local or str(source / "dataset")
    with outgoing(place, cache_folder) as target:
        if options.to is None:
            write_dataset(source, target, licence=options.licence)
        else:
            address = push_dataset(
                source, options.to, target, private=not options.public, licence=options.licence
            )
    print(f"Data set: {place}" if options.to is None else f"Data set: {address} (and {place})")
    return 0
