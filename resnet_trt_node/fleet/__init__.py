"""Many bags on one machine or a cluster, with Ray; written as Parquet, a file for each unit."""
