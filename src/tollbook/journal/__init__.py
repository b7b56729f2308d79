"""What happened, append-only and hash-chained: lanes, trees, checkpoints, objects, the personal directory."""
