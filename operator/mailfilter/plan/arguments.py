"""The options of `mailfilter plan`; by itself, so that other commands load no more than this."""

import argparse
from pathlib import Path


def add(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.epilog = (
        "Exit status: 0 all is valid and, with --diff, nothing would change; 1 with --diff, something would change; "
        "2 a manifest is invalid, or there is no plan for another reason."
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="YAML file with MailFilters; - is the standard input")
    parser.add_argument(
        "--show", choices=["objects", "policy", "postfix", "clamav"], help="print these instead of a summary"
    )
    parser.add_argument("--diff", action="store_true", help="compare with the cluster and tell which pods would roll")
    parser.add_argument("-n", "--namespace", help="namespace of manifests that name none")
    parser.add_argument("--context", help="context of the kubeconfig; with --diff")
    parser.add_argument("--kubeconfig", help="the kubeconfig file; with --diff")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="VALUES",
        help="chart values that name the images; without it those of the running gateway, or placeholders",
    )
