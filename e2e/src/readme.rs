//! The fenced blocks of the README, by the mark that stands before each.

use anyhow::{Context as _, Result};

use crate::cluster::checkout;

/// The block that follows the comment `<!-- mark -->`.
///
/// # Errors
/// There is none.
pub fn block(mark: &str) -> Result<String> {
    let readme = std::fs::read_to_string(checkout().join("README.md")).context("read README.md")?;
    let (_, rest) = readme
        .split_once(&format!("<!-- {mark} -->\n"))
        .with_context(|| format!("README.md has no block marked {mark}"))?;
    let (_, rest) = rest.split_once("```").context("a fence opens")?;
    let (_, rest) = rest.split_once('\n').context("a block has lines")?;
    let (block, _) = rest.split_once("\n```").context("a fence closes")?;
    Ok(block.to_owned() + "\n")
}

/// The fenced blocks of commands that no mark stands before: nothing would run them.
///
/// # Errors
/// The README cannot be read.
pub fn unmarked_commands() -> Result<Vec<String>> {
    let readme = std::fs::read_to_string(checkout().join("README.md")).context("read README.md")?;
    let lines: Vec<&str> = readme.lines().collect();
    let opens = |line: &str| ["```sh", "```bash", "```yaml"].contains(&line);
    let unmarked = lines
        .windows(2)
        .filter(|pair| opens(pair[1]) && !pair[0].starts_with("<!-- "));
    Ok(unmarked.map(|pair| pair.join("\n")).collect())
}
