"""What is measured; a package, since some installed ones have this name and would be found before a mere folder."""
