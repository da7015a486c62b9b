"""Whether a browser says that one of this site's own pages has sent a form."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def is_from_here(*, host: str, sec_fetch_site: str | None, origin: str | None) -> bool:
    """Return whether a request comes from this site, or the browser says nothing.

    Browsers add the first header where the connection is safe; the other one has been there for longer. Only its host
    is compared: behind a proxy the application may not know by which scheme it was called.

    Args:
        host: the host, with its port, at which the request arrived.
        sec_fetch_site: the header `Sec-Fetch-Site`; `None`: there was none.
        origin: the header `Origin`; `None`: there was none.
    """
    if sec_fetch_site is not None:
        return sec_fetch_site == "same-origin"
    if origin is None:
        return True
    try:
        theirs = urlsplit(origin)
        if not theirs.hostname:
            return False
        ours = urlsplit(f"//{host}")
        default = _DEFAULT_PORTS.get(theirs.scheme)
        return (theirs.hostname, theirs.port or default) == (ours.hostname, ours.port or default)
    except ValueError:
        return False
