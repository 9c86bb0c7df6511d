//! Stops a save at every operation; the store holds the image whole or not at all.
