"""Optional leaves of daetalker, one dependency each: none yet."""
