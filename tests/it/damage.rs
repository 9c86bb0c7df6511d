//! Damage times place times command: exit code and message.
