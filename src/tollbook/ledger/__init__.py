"""The journal folded into tables: disposable, rebuildable, and the only room that knows DuckDB."""
