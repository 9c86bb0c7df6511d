//! Variables in texts, as Compose replaces them: `$V`, `${V}` and the forms with
//! `:-`, `-`, `:?`, `?`, `:+` and `+`, nested as deep as one likes; `$$` is a `$`.
//!
//! What comes out is bounded, whatever the variables hold. Knows nothing of where
//! texts and variables come from.

/// Most bytes of a text whose variables are replaced.
const MOST: usize = 64 << 10;
/// Most levels of values within values.
const MOST_DEPTH: usize = 32;

/// Why the variables of a text can't be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// There is a `$` that begins no variable.
    Invalid,
    /// It comes to too much.
    TooLong,
    /// A variable has to be set.
    Required {
        variable: String,
        /// What the text says about it.
        message: String,
    },
}

/// Replaces the variables of a text. Those that aren't set are empty, and told.
pub(super) fn replace(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut dyn FnMut(&str),
) -> Result<String, Problem> {
    Replacing { lookup, unset }.text(text, 0)
}

struct Replacing<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    unset: &'a mut dyn FnMut(&str),
}

impl Replacing<'_> {
    fn text(&mut self, text: &str, depth: usize) -> Result<String, Problem> {
        if depth > MOST_DEPTH {
            return Err(Problem::TooLong);
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some(after) = after.strip_prefix('{') {
                let (inner, after) = braces(after).ok_or(Problem::Invalid)?;
                out.push_str(&self.braced(inner, depth)?);
                rest = after;
            } else {
                let (name, after) = name(after).ok_or(Problem::Invalid)?;
                out.push_str(&self.plain(name));
                rest = after;
            }
            if out.len() > MOST {
                return Err(Problem::TooLong);
            }
        }
        out.push_str(rest);
        if out.len() > MOST { Err(Problem::TooLong) } else { Ok(out) }
    }

    fn plain(&mut self, name: &str) -> String {
        (self.lookup)(name).unwrap_or_else(|| {
            (self.unset)(name);
            String::new()
        })
    }

    /// What stands between the braces.
    fn braced(&mut self, inner: &str, depth: usize) -> Result<String, Problem> {
        let (name, rest) = name(inner).ok_or(Problem::Invalid)?;
        if rest.is_empty() {
            return Ok(self.plain(name));
        }
        let (empty_counts, rest) = match rest.strip_prefix(':') {
            Some(rest) => (false, rest),
            None => (true, rest),
        };
        let value = (self.lookup)(name).filter(|value| empty_counts || !value.is_empty());
        let mut letters = rest.chars();
        match (letters.next(), value) {
            (Some('-' | '?'), Some(value)) => Ok(value),
            (Some('-'), None) | (Some('+'), Some(_)) => self.text(letters.as_str(), depth + 1),
            (Some('+'), None) => Ok(String::new()),
            (Some('?'), None) => {
                let message = self.text(letters.as_str(), depth + 1)?;
                Err(Problem::Required { variable: name.to_owned(), message })
            }
            _ => Err(Problem::Invalid),
        }
    }
}

/// The name at the beginning of a text, and what follows it.
fn name(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .unwrap_or(text.len());
    let digit = text.starts_with(|letter: char| letter.is_ascii_digit());
    (end > 0 && !digit).then(|| text.split_at(end))
}

/// What stands before the brace that closes, and what follows it.
fn braces(text: &str) -> Option<(&str, &str)> {
    let mut open = 1_usize;
    let mut last = ' ';
    for (at, letter) in text.char_indices() {
        match letter {
            '{' if last == '$' => open += 1,
            '}' if open == 1 => return Some((&text[..at], &text[at + 1..])),
            '}' => open -= 1,
            _ => {}
        }
        last = letter;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "SET" => Some("value".to_owned()),
            "EMPTY" => Some(String::new()),
            "DOLLAR" => Some("$SET".to_owned()),
            "LONG" => Some("x".repeat(40_000)),
            _ => None,
        }
    }

    fn replaced(text: &str) -> (Result<String, Problem>, Vec<String>) {
        let mut unset = Vec::new();
        let result = replace(text, &lookup, &mut |name| unset.push(name.to_owned()));
        (result, unset)
    }

    #[test]
    fn every_form_gives_what_the_specification_says() {
        for (text, expected) in [
            ("plain", "plain"),
            ("$SET", "value"),
            ("a-$SET.b", "a-value.b"),
            ("${SET}s", "values"),
            ("$$SET", "$SET"),
            ("$$$SET", "$value"),
            ("$DOLLAR", "$SET"),
            ("${SET:-other}", "value"),
            ("${EMPTY:-other}", "other"),
            ("${NONE:-other}", "other"),
            ("${SET-other}", "value"),
            ("${EMPTY-other}", ""),
            ("${NONE-other}", "other"),
            ("${NONE:-}", ""),
            ("${SET:?no}", "value"),
            ("${EMPTY?no}", ""),
            ("${SET:+other}", "other"),
            ("${EMPTY:+other}", ""),
            ("${EMPTY+other}", "other"),
            ("${NONE+other}", ""),
            ("${NONE:-${SET}}", "value"),
            ("${NONE:-${ALSO-$SET}-x}y", "value-xy"),
            ("${NONE:-a:b-c?d}", "a:b-c?d"),
            ("${NONE-${EMPTY:-${SET:+deep}}}/app:${TAG:-1}", "deep/app:1"),
        ] {
            assert_eq!(replaced(text), (Ok(expected.to_owned()), Vec::new()), "{text}");
        }
        assert_eq!(
            replaced("app:$NONE${ALSO}"),
            (Ok("app:".to_owned()), vec!["NONE".to_owned(), "ALSO".to_owned()])
        );
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        for text in
            ["$", "a$", "$1", "${", "${}", "${SET", "${SET!}", "${ SET}", "${NONE:-$}", "$-"]
        {
            assert_eq!(replaced(text).0, Err(Problem::Invalid), "{text}");
        }
        let deep = "${N-".repeat(100) + &"}".repeat(100);
        for text in [deep.as_str(), "$LONG$LONG"] {
            assert_eq!(replaced(text).0, Err(Problem::TooLong), "{text}");
        }
        for (text, message) in
            [("${NONE:?}", ""), ("${NONE?say $SET}", "say value"), ("${EMPTY:?x}", "x")]
        {
            let variable = text[2..].split([':', '?']).next().unwrap().to_owned();
            let required = Problem::Required { variable, message: message.to_owned() };
            assert_eq!(replaced(text).0, Err(required), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_replaced_or_refused(text in "[${}:?+A-C-]{0,60}|\\PC{0,60}") {
            let (result, _) = replaced(&text);
            if let Ok(result) = result {
                prop_assert!(text.contains('$') || result == text);
            }
        }
    }
}
