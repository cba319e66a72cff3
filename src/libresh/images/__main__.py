"""`python -m libresh.images`: build images by hand, list them, and clear the cache of what is no longer used."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from libresh.errors import LibreshError
from libresh.images import builder


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        if options.verb == "list":
            for name, ref in builder.references(options.prefix).items():
                print(f"{name:12} {ref}")
        elif options.verb == "prune":
            print(f"removed {builder.prune()} layers and archives")
        else:
            _build(options)
    except LibreshError as error:
        print(f"{error.reference}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m libresh.images", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    build = verbs.add_parser("build", help="build images, all of them if none is named")
    build.add_argument("names", nargs="*", metavar="NAME")
    build.add_argument("--output", type=Path, help="a folder to put the archives in, as <name>.tar")
    build.add_argument("--archive", type=Path, help="one file for all of them, with shared layers once")
    listing = verbs.add_parser("list", help="name the images and their references")
    verbs.add_parser("prune", help="remove from the cache what no recipe needs any more")
    for verb in (build, listing):
        verb.add_argument("--prefix", default=builder.DEFAULT_PREFIX, help="what references begin with")
    return parser


def _build(options: argparse.Namespace) -> None:
    if options.archive:
        built = builder.write_archive(
            options.names, options.archive, prefix=options.prefix, on_progress=_print_progress
        )
    else:
        built = builder.build(options.names, prefix=options.prefix, on_progress=_print_progress)
    for name, image in built.items():
        path = image.archive
        if options.output:
            options.output.mkdir(parents=True, exist_ok=True)
            path = options.output / f"{name}.tar"
            draft = path.with_suffix(".part")
            shutil.copyfile(image.archive, draft)
            os.replace(draft, path)
        print(f"{image.ref} {image.digest} {image.size / 1e6:.1f} MB {path}")


def _print_progress(progress: builder.Progress) -> None:
    print(f"{progress.image}: {progress.step} ({progress.seconds:.1f} s)", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
