//! Whatever goes in comes back bit for bit.
