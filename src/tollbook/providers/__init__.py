"""One module per wire format: how a vendor names models, meters, streams and fails."""
