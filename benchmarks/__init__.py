"""What is measured. A package, since an installed one of this name would be found before a mere folder."""
