"""The door for spans: OTLP in, entries of the journal out."""
