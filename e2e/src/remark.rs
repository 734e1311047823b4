//! What a person who reads the tests' output has to know, such as that something was skipped.

use std::io::Write as _;

/// Writes past the capture of the test runner.
pub fn remark(text: &str) {
    // a remark that cannot be written is no reason for a test to fail
    drop(writeln!(std::io::stderr(), "remark: {text}"));
}
