//! Everything that is printed: data to standard output, notes to standard error.
//!
//! A listing whose reader goes away ends quietly. Control characters from
//! archives never reach a terminal.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::exit::Exit;
use super::failure::Failure;

/// The result of printing data.
pub(crate) type Printed = Result<Exit, Failure>;

/// Prints lines of data.
pub(crate) fn lines(lines: &[String]) -> Printed {
    let mut text = String::new();
    for line in lines {
        text.push_str(&clean(line));
        text.push('\n');
    }
    data(text.as_bytes())
}

/// Prints one JSON document.
pub(crate) fn json(document: &impl Serialize) -> Printed {
    let text = serde_json::to_string_pretty(document)
        .map_err(|error| Failure::of("cannot print", &error, Exit::Failed))?;
    data(format!("{text}\n").as_bytes())
}

fn data(bytes: &[u8]) -> Printed {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(Exit::Done),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => Err(Failure::of("cannot print", &error, Exit::Failed)),
    }
}

/// Prints a line for a person on standard error.
pub(crate) fn note(line: &str) {
    // Nothing can be told where standard error is closed.
    drop(writeln!(io::stderr(), "{}", clean(line)));
}

/// Asks on a terminal; `None` where there is none.
pub(crate) fn confirm(question: &str) -> Option<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    drop(write!(io::stderr(), "{} [y/N] ", clean(question)));
    let mut answer = String::new();
    drop(io::stdin().read_line(&mut answer));
    Some(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Whether standard output is a terminal.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Control characters, and those that turn the direction of writing, as `?`.
fn clean(text: &str) -> Cow<'_, str> {
    let turns = |letter| matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let harmful = |letter: char| letter.is_control() || turns(letter);
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|letter| if harmful(letter) { '?' } else { letter }).collect()
}

/// Rows as lines, with columns of equal width two spaces apart.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let room = widths.iter().map(|width| width + 2).sum();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::with_capacity(room);
        let mut gap = 0;
        for (cell, width) in cells.zip(&widths) {
            line.extend(std::iter::repeat_n(' ', gap));
            line.push_str(cell);
            gap = width - cell.chars().count() + 2;
        }
        line.truncate(line.trim_end().len());
        line
    };
    let mut lines = vec![line(&mut header.iter().copied())];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines
}

/// How long ago something was, as people say it.
pub(crate) fn ago(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let of = |unit: i64, name: &str| {
        let count = seconds / unit;
        format!("{count} {name}{} ago", if count == 1 { "" } else { "s" })
    };
    match seconds {
        ..MINUTE => "just now".to_owned(),
        MINUTE..HOUR => format!("{} min ago", seconds / MINUTE),
        HOUR..DAY => of(HOUR, "hour"),
        seconds if seconds < 14 * DAY => of(DAY, "day"),
        seconds if seconds < 60 * DAY => of(7 * DAY, "week"),
        seconds if seconds < 730 * DAY => of(30 * DAY, "month"),
        _ => of(365 * DAY, "year"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_ago() {
        for (seconds, text) in [
            (-5, "just now"),
            (59, "just now"),
            (60, "1 min ago"),
            (3599, "59 min ago"),
            (3600, "1 hour ago"),
            (7200, "2 hours ago"),
            (86_400, "1 day ago"),
            (14 * 86_400, "2 weeks ago"),
            (61 * 86_400, "2 months ago"),
            (800 * 86_400, "2 years ago"),
        ] {
            assert_eq!(ago(seconds), text);
        }
    }

    #[test]
    fn tables_line_up_and_hide_control_characters() {
        let rows = vec![vec!["a".to_owned(), "long cell".to_owned()]];
        assert_eq!(table(&["NAME", "X"], &rows), ["NAME  X", "a     long cell"]);
        assert_eq!(clean("a\x1b[31m"), "a?[31m");
    }
}
