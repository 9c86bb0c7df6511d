//! The hex vectors of docs/FORMAT.md.
