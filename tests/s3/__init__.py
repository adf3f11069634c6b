"""A real S3 server for tests and benchmarks: one-node Ceph radosgw."""
