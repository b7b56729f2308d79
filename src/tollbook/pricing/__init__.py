"""What things cost: price books, the catalogue that makes them, rating. Pure; imports only `core`."""
