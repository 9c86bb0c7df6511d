//! A second, minimal reader, written from docs/FORMAT.md alone.
