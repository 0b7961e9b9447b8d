//! The configuration as plain data: watchkeeper.yml, a superset of prometheus.yml, read by one YAML parser with line and column.
