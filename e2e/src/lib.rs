//! Black-box tests and benchmarks, on real clients, real clusters and real Kafka
