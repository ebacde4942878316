"""Models of every kind that a program may have, for tests only. Their tables are made without migrations."""
