"""Features over HTTP: from the online store to JSON, with windows that slide at read time (design §9)."""
