"""Pages for people in a browser, without a framework: bodies of HTML from the ledger and plain values."""
