//! Arithmetic on slices: the only room with unsafe code.
