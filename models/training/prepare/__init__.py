"""`daetalker prepare`: a person's own video to the folders that training and evaluation read."""
