//! `{name}` in arguments and files.

/// Fills in every `{name}`. A brace that no lower-case letter follows stands for itself, so that
/// configuration files need no escapes.
///
/// # Errors
/// The first name that `value` does not know.
pub(crate) fn fill(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, &str> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        match name(&from[1..]) {
            Some(name) => {
                filled.push_str(&value(name).ok_or(name)?);
                rest = &from[name.len() + 2..];
            }
            None => {
                filled.push('{');
                rest = &from[1..];
            }
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

/// The name that `text` begins with, if a closing brace ends it.
fn name(text: &str) -> Option<&str> {
    let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
    let end = text.find(|c| !part(c))?;
    let starts = text.starts_with(|c: char| c.is_ascii_lowercase());
    (starts && text[end..].starts_with('}')).then(|| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_filled_in_and_other_braces_stay() {
        let value = |name: &str| match name {
            "addr" => Some("10.0.0.2".to_owned()),
            "port.trading-api" => Some("8080".to_owned()),
            "odd" => Some("{addr}".to_owned()),
            _ => None,
        };
        for (text, expected) in [
            ("", Ok("")),
            ("{addr}:{port.trading-api}", Ok("10.0.0.2:8080")),
            ("events { x 1; }", Ok("events { x 1; }")),
            ("return '{\"a\":1}'", Ok("return '{\"a\":1}'")),
            ("a{2}{addr", Ok("a{2}{addr")),
            ("{", Ok("{")),
            // What is filled in is not read again.
            ("{odd}", Ok("{addr}")),
            ("{nope}", Err("nope")),
        ] {
            assert_eq!(fill(text, value), expected.map(str::to_owned), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "\\PC*") {
            let same = fill(&text, |name| Some(format!("{{{name}}}")));
            prop_assert_eq!(same, Ok(text.clone()));
        }
    }
}
