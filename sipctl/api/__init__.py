"""The desk: HTTP API, events, tokens; log, metrics and call records joined. It decides nothing and carries no call."""
