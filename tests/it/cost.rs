//! Counts of what operations cost: reads, syncs, bytes; never seconds.
