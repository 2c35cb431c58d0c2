"""Results of experiments as one page: tables, pictures, curves."""
