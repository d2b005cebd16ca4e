"""Roll-up of counts and removal of old rows."""
