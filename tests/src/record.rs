//! What NVIDIA's hardware said of the filetests: `tests/hardware/h200.tsv`, written by `hetgpu-hwcheck --record`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The results of one session on the hardware.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Record {
    pub device: String,
    pub driver: String,
    pub date: String,
    /// By file and run.
    pub results: BTreeMap<(String, usize), Outcome>,
}

/// What became of one run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// [`crate::files::fingerprint`] of the file.
    pub fingerprint: u64,
    /// `ok`, `skipped`, or what went wrong.
    pub status: String,
    /// Why.
    pub detail: String,
}

/// Where the record of this repository is.
pub fn default_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hardware/h200.tsv")
}

impl Record {
    /// As the text of a file.
    pub fn print(&self) -> String {
        let Self { device, driver, date, results } = self;
        let mut out = format!("# device\t{device}\n# driver\t{driver}\n# date\t{date}\n");
        for ((file, run), Outcome { fingerprint, status, detail }) in results {
            let detail = detail.lines().next().unwrap_or_default().replace('\t', " ");
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{file}\t{run}\t{fingerprint:016x}\t{status}\t{detail}");
        }
        out
    }

    /// Reads what [`Record::print`] wrote; an error names the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut record = Self::default();
        for (number, line) in text.lines().enumerate() {
            record.line(line).ok_or_else(|| format!("line {} is no result: {line}", number + 1))?;
        }
        Ok(record)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        if let Some(field) = line.strip_prefix("# ") {
            let (name, value) = field.split_once('\t')?;
            match name {
                "device" => self.device = value.into(),
                "driver" => self.driver = value.into(),
                "date" => self.date = value.into(),
                _ => return None,
            }
            return Some(());
        }
        let mut fields = line.split('\t');
        let key = (fields.next()?.to_string(), fields.next()?.parse().ok()?);
        let fingerprint = u64::from_str_radix(fields.next()?, 16).ok()?;
        let (status, detail) = (fields.next()?.to_string(), fields.next()?.to_string());
        self.results.insert(key, Outcome { fingerprint, status, detail });
        fields.next().is_none().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let outcome = |status: &str, detail: &str| Outcome {
            fingerprint: 0x0123_4567_89ab_cdef,
            status: status.into(),
            detail: detail.into(),
        };
        let record = Record {
            device: "NVIDIA H200".into(),
            driver: "580.1".into(),
            date: "2026-11-20".into(),
            results: BTreeMap::from([
                (("int/popc".into(), 0), outcome("ok", "")),
                (("int/popc".into(), 1), outcome("skipped", "needs sm_100a")),
            ]),
        };
        assert_eq!(Record::parse(&record.print()), Ok(record));
        assert!(Record::parse("int/popc\t0\tzz\tok\t").unwrap_err().starts_with("line 1"));
        assert!(Record::parse("# colour\tred").is_err());
    }
}
