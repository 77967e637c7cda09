//! Runs models: tokens in, tokens out.
