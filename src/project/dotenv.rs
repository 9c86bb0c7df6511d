//! Files of variables, as Compose reads them: `.env` and its kin.
//!
//! `NAME=value` or `NAME: value` on a line, maybe after `export`. A value in single
//! quotes is literal, one in double quotes has escapes, and both may go over several
//! lines; without quotes it ends at the line or at ` #`. Variables are replaced but
//! in single quotes, by the environment before earlier lines. A name alone takes
//! its value from the environment. Knows nothing of files.

use std::collections::BTreeMap;

use crate::project::variables::{self, Problem};

/// Variables by name.
pub(super) type Variables = BTreeMap<String, String>;

/// Most variables of a file.
const MOST: usize = 10_000;

/// What is wrong in which line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    pub line: u32,
    pub problem: String,
}

/// Adds the variables of a file to `variables`. What `environment` has goes first.
pub(super) fn read(
    text: &str,
    environment: &Variables,
    variables: &mut Variables,
) -> Result<(), BadLine> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let bad = |problem: &str| {
            let before = &text[..text.len() - rest.len()];
            let line = u32::try_from(before.matches('\n').count() + 1).unwrap_or(0);
            BadLine { line, problem: problem.to_owned() }
        };
        if rest.starts_with('#') {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest).trim_start();
            continue;
        }
        let (name, value) = name(rest).map_err(bad)?;
        let (found, after) = match value {
            None => {
                let after = rest.split_once('\n').map_or("", |(_, rest)| rest);
                (environment.get(name).cloned(), after)
            }
            Some(value) => {
                let lookup =
                    |name: &str| environment.get(name).or_else(|| variables.get(name)).cloned();
                let (found, after) = read_value(value, &lookup).map_err(|found| bad(&found))?;
                (Some(found), after)
            }
        };
        if variables.len() >= MOST {
            return Err(bad("more than 10000 variables"));
        }
        if let Some(found) = found {
            variables.insert(name.to_owned(), found);
        }
        rest = after.trim_start();
    }
    Ok(())
}

/// The name that a line begins with, and what follows its `=`, if it has one.
fn name(text: &str) -> Result<(&str, Option<&str>), &'static str> {
    let text = match text.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start_matches([' ', '\t']),
        _ => text,
    };
    let end = text.find(['=', ':', '\n']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let name = name.trim_end();
    let valid = |letter: char| letter.is_alphanumeric() || "_.-[]".contains(letter);
    if name.is_empty() || !name.chars().all(valid) {
        return Err("it begins with no name of a variable");
    }
    let value = rest.strip_prefix(['=', ':']);
    Ok((
        name,
        value.map(|value| value.trim_start_matches(|c: char| c != '\n' && c.is_whitespace())),
    ))
}

/// The value at the beginning of a text, and what follows it.
fn read_value<'a>(
    text: &'a str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<(String, &'a str), String> {
    let replace = |value: &str| {
        // A variable of a file that nothing sets is empty, as in a shell.
        variables::replace(value, lookup, &mut |_| {}).map_err(|problem| match problem {
            Problem::Invalid => "its `$` begins no variable; write `$$` for a `$`".to_owned(),
            Problem::TooLong => "its value is too long".to_owned(),
            Problem::Required { variable, message } => {
                format!("variable `{variable}` has to be set: {message}")
            }
        })
    };
    let quote = text.chars().next().filter(|quote| matches!(quote, '"' | '\''));
    let Some(quote) = quote else {
        let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
        let value = if line.starts_with('#') { "" } else { line };
        let value = value.split_once(" #").map_or(value, |(value, _)| value);
        return Ok((replace(value.trim_end())?, rest));
    };
    let inner = &text[1..];
    let end = closing(inner, quote).ok_or("a quote is not closed")?;
    let rest = &inner[end + 1..];
    let inner = &inner[..end];
    if quote == '\'' {
        return Ok((inner.replace("\\'", "'"), rest));
    }
    Ok((replace(&unescaped(inner))?, rest))
}

/// Where the quote that closes is.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        if letter == quote && !escaped {
            return Some(at);
        }
        escaped = letter == '\\' && !escaped;
    }
    None
}

/// The text of a value in double quotes.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            // A dollar that means itself, for those who replace variables.
            Some('$') => out.push_str("$$"),
            Some(other) if matches!(other, '"' | '\\') => out.push(other),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn environment() -> Variables {
        [("OUTER", "outer"), ("HERE", "from outside")].map(|(a, b)| (a.into(), b.into())).into()
    }

    fn parsed(text: &str) -> Result<Variables, BadLine> {
        let mut found = Variables::new();
        read(text, &environment(), &mut found).map(|()| found)
    }

    #[test]
    fn values_are_read_as_compose_reads_them() {
        for (text, expected) in [
            ("A=1", "1"),
            ("A = 1  ", "1"),
            ("A: 1", "1"),
            ("export A=1", "1"),
            ("export\tA=1\r\n", "1"),
            ("# comment\n\n  A=1 # comment", "1"),
            ("A=1#2", "1#2"),
            ("A=", ""),
            ("A=# nothing", ""),
            ("A='1 # $OUTER \\n'", "1 # $OUTER \\n"),
            ("A='it\\'s'", "it's"),
            ("A=\"1 # $OUTER\" # comment", "1 # outer"),
            ("A=\"a\\nb\\tc\\\"d\\\\e\"", "a\nb\tc\"d\\e"),
            ("A=\"two\nlines\"", "two\nlines"),
            ("A=\"\\$OUTER\"", "$OUTER"),
            ("B=b\nA=${B}-${C:-c}-$OUTER", "b-c-outer"),
            ("HERE=inside\nA=$HERE", "from outside"),
            ("A=1\nA=2", "2"),
            ("A=$$", "$"),
            ("A=$NOWHERE", ""),
            ("\u{feff}A=1", "1"),
        ] {
            assert_eq!(parsed(text).unwrap().get("A").unwrap(), expected, "{text}");
        }
        let found = parsed("OUTER\nNOWHERE\nexport HERE").unwrap();
        assert_eq!(found, environment());
    }

    #[test]
    fn bad_lines_are_named() {
        for (text, line, problem) in [
            ("A=1\n=2", 2, "no name"),
            ("A B=2", 1, "no name"),
            ("A=1\n\n\"x\"=2", 3, "no name"),
            ("A='1\n\n", 1, "not closed"),
            ("A=1\nB=${", 2, "begins no variable"),
            ("A=${B:?need it}", 1, "`B` has to be set: need it"),
        ] {
            let bad = parsed(text).unwrap_err();
            assert_eq!(bad.line, line, "{text}");
            assert!(bad.problem.contains(problem), "{text}: {}", bad.problem);
        }
        let doubled = (1..40).map(|number| format!("A{number}=$A{0}$A{0}\n", number - 1));
        let text = format!("A0=xxxxxxxxxxxxxxxx\n{}", doubled.collect::<String>());
        assert!(parsed(&text).unwrap_err().problem.contains("too long"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[A-C=:\"'\\\\$# \n{}-]{0,60}|\\PC{0,60}") {
            let found = parsed(&text);
            if let Err(bad) = found {
                prop_assert!(bad.line > 0);
            }
        }
    }
}
