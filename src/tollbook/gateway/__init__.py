"""The road: admits a request, plans its attempts, writes them down, sends them, relays the answers."""
