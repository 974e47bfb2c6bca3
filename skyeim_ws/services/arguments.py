"""The command line of the process of our services; what is secret comes from the environment."""

import argparse
import json
import os
from collections.abc import Sequence

from skyeim_ws.contract.names import LOG_LEVELS
from skyeim_ws.ops import telemetry
from skyeim_ws.ops.scrape import PATH


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options, with the values of the variables that the `-env` ones name.

    Ends the program with exit code 2 if they do not fit together.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if bool(arguments.cert_file) != bool(arguments.key_file):
        parser.error("TLS needs --cert-file and --key-file")
    if arguments.client_ca_file and not arguments.cert_file:
        parser.error("--client-ca-file needs --cert-file")
    for name in ("data_source", "redis", "push_secret", "announce", "log", "telemetry"):
        variable = getattr(arguments, f"{name}_env")
        if variable is None:
            vars(arguments).setdefault(name, None)
        elif variable in os.environ:
            setattr(arguments, name, os.environ[variable])
        else:
            parser.error(f"the environment variable {variable} is not set")
    said = {"encoding": arguments.log_encoding, "level": arguments.log_level}
    arguments.log = arguments.log or json.dumps(said)
    arguments.telemetry = telemetry.decode(arguments.telemetry or "null")
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m skyeim_ws.services.server",
        description="Serve the Message, Friend and Group services over gRPC.",
        epilog="The -env options name an environment variable: whoever may list the processes of "
        "this machine sees their arguments, so nothing with a password belongs there.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data-source", metavar="S", help="SQLite file, URL or go-zero DSN")
    source.add_argument("--data-source-env", metavar="NAME")
    parser.add_argument(
        "--listen",
        metavar="ADDR",
        action="append",
        required=True,
        help="unix:/path or host:port; may be repeated",
    )
    parser.add_argument(
        "--redis-env", metavar="NAME", help="where the cached members of groups are, as JSON"
    )
    parser.add_argument("--push-url", metavar="URL", help="the gateway that hears of changes")
    parser.add_argument("--push-secret-env", metavar="NAME")
    parser.add_argument(
        "--push-cert-file", metavar="FILE", help="the certificate that this gateway must show"
    )
    parser.add_argument("--cert-file", metavar="FILE", help="speak TLS, with this certificate")
    parser.add_argument("--key-file", metavar="FILE")
    parser.add_argument(
        "--client-ca-file", metavar="FILE", help="serve only whom this has certified"
    )
    parser.add_argument("--announce-env", metavar="NAME", help="what is written to etcd, as JSON")
    parser.add_argument(
        "--metrics-socket", metavar="PATH", action="append", default=[], help="show metrics there"
    )
    parser.add_argument("--metrics-host", metavar="HOST", default="", help="and on this port")
    parser.add_argument("--metrics-port", metavar="PORT", type=int, default=9101)
    parser.add_argument("--metrics-path", metavar="PATH", default=PATH)
    parser.add_argument("--demo", action="store_true", help="add three friends and a group")
    parser.add_argument("--reflection", action="store_true", help="let clients list the services")
    parser.add_argument(
        "--log-env", metavar="NAME", help="where the log goes, as JSON, in place of the next two"
    )
    parser.add_argument("--telemetry-env", metavar="NAME", help="where spans go, as JSON")
    parser.add_argument("--log-encoding", choices=("json", "plain"), default="json")
    parser.add_argument("--log-level", choices=LOG_LEVELS, default="info")
    return parser
