//! The fenced blocks of the README and of other documents, by the mark that stands before each.

use anyhow::{Context as _, Result};

use crate::cluster::checkout;

/// The block of the README that follows the comment `<!-- mark -->`.
///
/// # Errors
/// There is none.
pub fn block(mark: &str) -> Result<String> {
    block_of(README, mark)
}

/// The block of that document that follows the comment `<!-- mark -->`.
///
/// # Errors
/// There is none.
pub fn block_of(document: &str, mark: &str) -> Result<String> {
    let text = read(document)?;
    let (_, rest) = text
        .split_once(&format!("<!-- {mark} -->\n"))
        .with_context(|| format!("{document} has no block marked {mark}"))?;
    let (_, rest) = rest.split_once("```").context("a fence opens")?;
    let (_, rest) = rest.split_once('\n').context("a block has lines")?;
    let (block, _) = rest.split_once("\n```").context("a fence closes")?;
    Ok(block.to_owned() + "\n")
}

/// The marks of that document, in their order.
///
/// # Errors
/// It cannot be read.
pub fn marks(document: &str) -> Result<Vec<String>> {
    let text = read(document)?;
    let mark = |line: &str| Some(line.strip_prefix("<!-- ")?.strip_suffix(" -->")?.to_owned());
    Ok(text.lines().filter_map(mark).collect())
}

/// The fenced blocks of commands that no mark stands before: nothing would run them.
///
/// # Errors
/// The README cannot be read.
pub fn unmarked_commands() -> Result<Vec<String>> {
    let readme = read(README)?;
    let lines: Vec<&str> = readme.lines().collect();
    let opens = |line: &str| ["```sh", "```bash", "```yaml"].contains(&line);
    let unmarked = lines
        .windows(2)
        .filter(|pair| opens(pair[1]) && !pair[0].starts_with("<!-- "));
    Ok(unmarked.map(|pair| pair.join("\n")).collect())
}

fn read(document: &str) -> Result<String> {
    std::fs::read_to_string(checkout().join(document)).with_context(|| format!("read {document}"))
}

const README: &str = "README.md";
