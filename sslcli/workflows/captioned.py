"""The images of a data set that have captions, and what is said of the others."""

from sslcli.data.sources.base import Source
from sslcli.data.sources.captioned import with_texts
from sslcli.listener import Listener, warn_of


def captioned(source: Source, listener: Listener) -> Source:
    """Return the rows that have a text; the listener is told how many have none."""
    kept, remarks = with_texts(source)
    warn_of(remarks, listener)
    return kept
