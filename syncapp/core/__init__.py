"""Values and decisions: no Django, no input or output, no clock. Time is an argument, in microseconds."""
