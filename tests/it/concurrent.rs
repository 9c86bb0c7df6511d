//! Several processes at once: readers beside a writer, two writers.
