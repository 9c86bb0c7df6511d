//! What a user can ask for: options in, outcome out.
//!
//! Each operation is a function over an open store. It knows no terminal, no
//! environment and no clock: times, names and progress come in as arguments.

mod body;
pub mod doctor;
pub mod export;
mod gather;
pub mod images;
pub mod input;
pub mod inspect;
pub mod optimize;
pub mod original;
mod proof;
pub mod resolve;
pub mod save;
pub mod stats;
pub mod target;
