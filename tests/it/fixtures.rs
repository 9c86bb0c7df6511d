//! Real archives of many writers, odd and hostile ones.
