"""The live path: what knows time and peers.  It never imports torch."""
