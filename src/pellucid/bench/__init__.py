"""Experiments: plans of data x tasks x methods x priors x seeds, run into Parquet files; and what a method costs."""
