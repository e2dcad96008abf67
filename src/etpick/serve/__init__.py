"""The browser interface: annotate, train, pick and curate on a server from a laptop."""
