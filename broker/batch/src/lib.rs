//! Record batches: read, check, stamp, compress, build
