//! What a user can ask for: options in, outcome out.
//!
//! Each operation is a function over an open store. It knows no terminal, no
//! environment and no clock: times, names and progress come in as arguments.

pub mod action;
mod body;
pub mod doctor;
pub mod export;
pub mod forget;
pub mod from_engine;
mod gather;
pub mod gc;
pub mod images;
pub mod input;
pub mod inspect;
pub mod load;
pub mod optimize;
pub mod original;
pub mod pin;
mod proof;
pub mod resolve;
pub mod rm;
pub mod save;
pub mod stats;
pub mod tag;
pub mod target;
pub mod undo;
