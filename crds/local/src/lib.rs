//! A small Kubernetes API in one process, in memory or over a folder of YAML files
