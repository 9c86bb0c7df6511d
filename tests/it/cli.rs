//! The README and tests/cmd, executed as transcripts.
