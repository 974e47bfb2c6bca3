"""Where the database is: a file, a URL or a go-zero DSN, read into the URL of SQLAlchemy."""

import re

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

_GO_DSN = re.compile(
    r"(?P<user>[^:@/]+)(?::(?P<password>.*))?@(?P<net>tcp|unix)\((?P<address>[^()]+)\)"
    r"/(?P<name>[^/?]+)(?:\?.*)?",
    re.DOTALL,
)
_DRIVERS = {"sqlite": "sqlite+aiosqlite", "mysql": "mysql+asyncmy", "mariadb": "mariadb+asyncmy"}


class DataSourceError(ValueError):
    """The data source cannot be understood; the text never repeats it, for its password."""


def parse_data_source(data_source: str) -> URL:
    """Return the URL of a data source, its driver filled in; raises DataSourceError."""
    if dsn := _GO_DSN.fullmatch(data_source.removeprefix("mysql://")):
        return _from_go_dsn(dsn)
    if "://" not in data_source:
        if "@" in data_source or data_source in ("", ":memory:"):
            raise DataSourceError("neither a file, a URL, nor user:password@tcp(host:port)/name")
        return URL.create(_DRIVERS["sqlite"], database=data_source)
    try:
        url = make_url(data_source)
    except (ArgumentError, ValueError):
        raise DataSourceError("the URL is malformed") from None
    driver = _DRIVERS.get(url.get_backend_name())
    if driver is None:
        raise DataSourceError(f"no support for {url.get_backend_name()}: use SQLite or MySQL")
    if not url.database or url.database == ":memory:":
        raise DataSourceError("the URL names no database")
    return url.set(drivername=driver)


def shown(data_source: str) -> str:
    """Return a data source for people: a file, or without the password; raises DataSourceError."""
    url = parse_data_source(data_source)
    is_file = url.get_backend_name() == "sqlite"
    return str(url.database) if is_file else url.render_as_string(hide_password=True)


def _from_go_dsn(dsn: re.Match[str]) -> URL:
    host: str | None = None
    port: int | None = None
    query: dict[str, str] = {"charset": "utf8mb4"}
    if dsn["net"] == "unix":
        query["unix_socket"] = dsn["address"]
    else:
        host, _, port_text = dsn["address"].rpartition(":")
        if not host or not port_text.isdecimal():
            raise DataSourceError("the address must be tcp(host:port)")
        port = int(port_text)
    return URL.create(
        _DRIVERS["mysql"], dsn["user"], dsn["password"], host.strip("[]") if host else None, port,
        dsn["name"], query,
    )  # fmt: skip
