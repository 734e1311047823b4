//! Descriptions as Markdown.

/// The paragraphs of a description.
pub(super) fn paragraphs(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n\n")
}

/// The text on one line, with nothing in it that Markdown reads as more than text.
pub(super) fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => cell.push(' '),
            '|' | '*' | '<' | '`' | '\\' => cell.extend(['\\', letter]),
            other => cell.push(other),
        }
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup() {
        assert_eq!(
            cell("[\"*\"] or a|b\nand <c>"),
            "[\"\\*\"] or a\\|b and \\<c>"
        );
    }
}
