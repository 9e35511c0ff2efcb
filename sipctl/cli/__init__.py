"""The command line: what operators type. It speaks to the API, reads STATE where it must, and decides nothing."""
