"""Evidence: one file that shows what the book says of a request, and that anybody can verify without the book."""
