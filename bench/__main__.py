"""Measures libre.sh beside its baselines: python -m bench [--full] [small] [product] [claims] [ready] [up] [report]

Without names: small, product and report (under ten minutes on two cores; with --full half an hour and more). `up` and
`ready` make and purge a local cluster named bench (as root; --cold: with nothing built yet); `ready` can use another
one, with the operator in it. Results go to bench/results/*.json, their tables into docs/performance.md.
"""

import argparse
import time
from pathlib import Path

from bench import claims, product, ready, report, small, up
from bench.contenders import save
from bench.servers import ROOT

RESULTS = ROOT / "bench" / "results"
PARTS = ("small", "product", "claims", "ready", "up", "report")


def tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        usage="%(prog)s [options] [part …]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="part", help=" ".join(PARTS))
    parser.add_argument("--full", action="store_true", help="all sizes; ten settled minutes")
    parser.add_argument("--rounds", type=int, default=0, help="repetitions whose median counts (2; --full: 3)")
    parser.add_argument("--settled", type=float, default=0, help="seconds to watch a settled operator")
    parser.add_argument("--matrices", type=int, default=0, help="Matrix objects on the real API server")
    parser.add_argument("--largest", type=int, default=0, help="Matrix objects on the API server in memory")
    parser.add_argument("--cold", action="store_true", help="for `up`: with nothing compiled or built yet")
    parser.add_argument("--kubeconfig", type=Path, help="for `ready`: the cluster to use")
    given = parser.parse_args()
    parts = given.parts or ["small", "product", "report"]
    rounds = given.rounds or (3 if given.full else 2)
    if "small" in parts:
        save(RESULTS / "small.json", small.run(full=given.full, rounds=rounds, tell=tell))
    if "product" in parts:
        sizes = {"matrices": given.matrices, "largest": given.largest}
        found = product.run(full=given.full, settled_seconds=given.settled, tell=tell, **sizes)
        save(RESULTS / "product.json", found)
    if "claims" in parts:
        save(RESULTS / "claims.json", claims.run(tell=tell))
    if given.kubeconfig and "ready" in parts:
        save(RESULTS / "ready.json", ready.run(given.kubeconfig, rounds=rounds, tell=tell))
    elif "up" in parts or "ready" in parts:
        with up.cluster(cold=given.cold, tell=tell) as made:
            save(RESULTS / f"up-{'cold' if given.cold else 'warm'}.json", made.result)
            if "ready" in parts:
                save(RESULTS / "ready.json", ready.run(made.kubeconfig, rounds=rounds, tell=tell))
    if "report" in parts:
        report.write(RESULTS, ROOT / "docs" / "performance.md")


if __name__ == "__main__":
    main()
