//! The sentence that a CEL expression builds: texts that are put together with what was written.

use std::{iter::Peekable, str::Chars};

/// The texts of the expression as they stand, and `…` for everything that is computed.
///
/// The expression is one of ours: texts in single or double quotes and other terms, with `+` between.
pub(super) fn sentence(expression: &str) -> String {
    let mut said = String::new();
    let mut rest = expression.chars().peekable();
    let mut depth = 0_usize;
    while let Some(letter) = rest.next() {
        match letter {
            '\'' | '"' => {
                let text = literal(&mut rest, letter);
                if depth == 0 {
                    said.push_str(&text);
                }
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '+' | ' ' => {}
            _ if depth == 0 && !said.ends_with(GAP) => said.push(GAP),
            _ => {}
        }
    }
    said
}

/// The text up to the quote that ends it.
fn literal(rest: &mut Peekable<Chars<'_>>, quote: char) -> String {
    let mut text = String::new();
    while let Some(letter) = rest.next() {
        match letter {
            '\\' => text.extend(
                rest.next_if(|next| [quote, '\\'].contains(next))
                    .or(Some(letter)),
            ),
            end if end == quote => break,
            other => text.push(other),
        }
    }
    text
}

const GAP: char = '…';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_computed_is_a_gap() {
        for (expression, said) in [
            (
                r#"'"' + self.filter(n, n != '*' && !n.matches('^[a]$'))[0] + '" is none'"#,
                "\"…\" is none",
            ),
            (
                r#"'the scope "' + [self.a.map(d, d.name)].map(n, n)[0] + '" is not'"#,
                "the scope \"…\" is not",
            ),
            (r#"'"' + self.lifetime + '": must be'"#, "\"…\": must be"),
            (r"'it\'s ' + self", "it's …"),
            ("'plain'", "plain"),
        ] {
            assert_eq!(sentence(expression), said, "{expression}");
        }
    }
}
