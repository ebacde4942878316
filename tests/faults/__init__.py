"""What goes wrong between two programs, made to order."""
