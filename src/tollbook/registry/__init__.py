"""Who there is, where they belong and by which keys they come: folded from entries, looked up at two instants."""
