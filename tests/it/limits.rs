//! Memory and other limits, on generated and hostile input.
