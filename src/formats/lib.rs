//! Reads the headers of model files that nobody has checked yet, without trusting a byte of them.
