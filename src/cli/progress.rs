//! Progress on a terminal: one line on standard error that goes when done.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use orlop::progress::Progress;

/// Draws what the library reports, where standard error is a terminal.
#[derive(Debug)]
pub(crate) struct Bar {
    label: &'static str,
    shown: bool,
    drawn: Mutex<Option<ProgressBar>>,
}

impl Bar {
    /// A bar that is called `label`; nothing is drawn where `quiet` is set.
    pub(crate) fn new(label: &'static str, quiet: bool) -> Self {
        let shown = !quiet && io::stderr().is_terminal();
        Self { label, shown, drawn: Mutex::new(None) }
    }

    fn drawn(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Bar {
    fn begin(&self, total: Option<u64>) {
        if !self.shown {
            return;
        }
        let template = match total {
            Some(_) => {
                "{msg} {bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}"
            }
            None => "{msg} {spinner} {decimal_bytes} {decimal_bytes_per_sec}",
        };
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(self.label);
        *self.drawn() = Some(bar);
    }

    fn advance(&self, bytes: u64) {
        if let Some(bar) = &*self.drawn() {
            bar.inc(bytes);
        }
    }

    fn finish(&self) {
        if let Some(bar) = self.drawn().take() {
            bar.finish_and_clear();
        }
    }
}
