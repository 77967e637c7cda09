//! Gets and keeps model files.
