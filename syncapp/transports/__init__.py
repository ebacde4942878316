"""Roads to a peer. Each knows nothing of tables or of Django; `base` names what they all provide."""
