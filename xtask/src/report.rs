//! Counts of checks, and the line that closes every command.

use std::fmt;
use std::ops::AddAssign;

/// How many checks passed, failed and were skipped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    /// One check.
    pub(crate) fn one(passed: bool) -> Self {
        if passed { Self { passed: 1, ..Self::default() } } else { Self { failed: 1, ..Self::default() } }
    }

    /// The counts of a line such as `3 passed, 0 failed, 1 skipped`.
    pub(crate) fn closing_line(line: &str) -> Option<Self> {
        Self::fields(line, ", ", ["passed", "failed", "skipped"])
    }

    /// The counts of a test harness's `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
    pub(crate) fn test_result(line: &str) -> Option<Self> {
        let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
        Self::fields(counts, "; ", ["passed", "failed", "ignored"])
    }

    fn fields(text: &str, separator: &str, names: [&str; 3]) -> Option<Self> {
        let mut fields = text.trim_end().split(separator);
        let mut next = |name| fields.next()?.strip_suffix(name)?.trim_end().parse().ok();
        Some(Self { passed: next(names[0])?, failed: next(names[1])?, skipped: next(names[2])? })
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let counts = Counts { passed: 3, failed: 0, skipped: 1 };
        assert_eq!(Counts::closing_line(&counts.to_string()), Some(counts));
        assert_eq!(Counts::closing_line("3 passed, 0 failed"), None);
        let line = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 9 filtered out; finished in 0.04s";
        assert_eq!(Counts::test_result(line), Some(counts));
        assert_eq!(Counts::test_result("test a ... ok"), None);
    }
}
