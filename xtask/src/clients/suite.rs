//! The list of a client's own tests.
//!
//! A line is a word, a test and perhaps a reason, with tabs between them. `counts`: it passes, and fails where kernels do
//! nothing. `fails`: known to fail, and why. `varies`: passes or fails, and why that is no matter. Tests that the list does
//! not have must not fail, and do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Results, Said};
use crate::report::Counts;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    Counts,
    Fails,
    Varies,
}

#[derive(Default)]
pub(super) struct Suite(BTreeMap<String, (Known, String)>);

/// What came of a run.
pub(super) struct Verdict {
    pub(super) counts: Counts,
    /// A line for each test that is not as it should be.
    pub(super) wrong: Vec<String>,
    pub(super) summary: String,
}

impl Suite {
    /// A list that is not there is empty.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        Self::parse(&text).map_err(|line| format!("{}: not understood: {line}", path.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut tests = BTreeMap::new();
        for line in text.lines() {
            let mut fields = line.split('\t');
            let (word, name, reason) = (fields.next(), fields.next(), fields.next().unwrap_or(""));
            let known = match word {
                Some("counts") => Known::Counts,
                Some("fails") if !reason.is_empty() => Known::Fails,
                Some("varies") if !reason.is_empty() => Known::Varies,
                _ => return Err(line.to_owned()),
            };
            tests.insert(name.ok_or(line)?.to_owned(), (known, reason.to_owned()));
        }
        Ok(Self(tests))
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), String> {
        let line = |(name, (known, reason)): (&String, &(Known, String))| match known {
            Known::Counts => format!("counts\t{name}\n"),
            Known::Fails => format!("fails\t{name}\t{reason}\n"),
            Known::Varies => format!("varies\t{name}\t{reason}\n"),
        };
        std::fs::write(path, self.0.iter().map(line).collect::<String>())
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Finds out which tests count. What is known of the others stays.
    pub(super) fn choose(&mut self, results: &Results, without: &Results) {
        self.0.retain(|_, (known, _)| *known != Known::Counts);
        for (name, _) in results.iter().filter(|(_, said)| **said == Said::Ok) {
            if without.get(name) != Some(&Said::Ok) {
                self.0.entry(name.clone()).or_insert((Known::Counts, String::new()));
            }
        }
    }

    pub(super) fn judge(&self, results: &Results) -> Verdict {
        let (mut counts, mut wrong, mut hollow) = (Counts::default(), Vec::new(), 0);
        let mut known = 0;
        for (name, said) in results {
            let failed = match (self.0.get(name).map(|(known, _)| *known), said) {
                (Some(Known::Varies), _) => {
                    counts.skipped += 1;
                    continue;
                }
                (_, Said::Skipped) => {
                    counts.skipped += 1;
                    continue;
                }
                (Some(Known::Fails), Said::Failed) => {
                    known += 1;
                    continue;
                }
                (Some(Known::Counts), Said::Ok) => {
                    counts.passed += 1;
                    continue;
                }
                (None, Said::Ok) => {
                    hollow += 1;
                    continue;
                }
                (Some(Known::Fails), Said::Ok) => "passes, and is known to fail: its line can go",
                (Some(Known::Counts) | None, Said::Failed) => "FAILED",
            };
            counts.failed += 1;
            wrong.push(format!("{name} {failed}"));
        }
        for name in self.0.keys().filter(|name| !results.contains_key(*name)) {
            counts.failed += 1;
            wrong.push(format!("{name} did not run"));
        }
        let summary = format!("{counts}; {known} known to fail; {hollow} more that need no kernel");
        Verdict { counts, wrong, summary }
    }

    /// The modules that the tests are in.
    pub(super) fn parts(&self) -> String {
        let module = |name: &String| {
            let parts: Vec<_> = name.split(['.', ':']).filter(|part| !part.is_empty()).collect();
            parts
                .iter()
                .rev()
                .find(|part| part.starts_with("test_") && Some(**part) != parts.last().copied())
                .map_or_else(
                    || parts[..parts.len().saturating_sub(2)].join("::"),
                    |part| part.trim_start_matches("test_").replace('_', " "),
                )
        };
        self.0.keys().map(module).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_counts_if_it_needs_kernels() {
        let results = |tests: &[(&str, Said)]| tests.iter().map(|(name, said)| ((*name).to_owned(), *said)).collect();
        let run: Results = results(&[("m.a", Said::Ok), ("m.b", Said::Ok), ("m.c", Said::Failed), ("m.d", Said::Ok)]);
        let mut suite = Suite::parse("counts\tm.gone\nfails\tm.c\tno such unit\nvaries\tm.d\ttime\n").unwrap();
        suite.choose(&run, &results(&[("m.a", Said::Failed), ("m.b", Said::Ok), ("m.d", Said::Failed)]));
        let verdict = suite.judge(&run);
        assert_eq!(verdict.counts, Counts { passed: 1, failed: 0, skipped: 1 });
        let broken: Results = results(&[("m.a", Said::Failed), ("m.b", Said::Failed), ("m.c", Said::Ok)]);
        let verdict = suite.judge(&broken);
        assert_eq!(verdict.counts.failed, 4, "{:?}", verdict.wrong);
        assert!(Suite::parse("fails\tm.c\n").is_err(), "a reason is needed");
    }
}
