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

/// Where the record of the sweep of this repository is.
pub fn sweep_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hardware/h200-sweep.tsv")
}

/// What the hardware said of the sweep.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Sweep {
    pub device: String,
    pub driver: String,
    pub date: String,
    /// By syntax line and number of the form among those of the same line.
    pub forms: BTreeMap<(String, usize), Swept>,
}

/// The counts of one form.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Swept {
    /// Combinations of words that ran.
    pub ran: usize,
    /// Combinations that the driver refuses for this device.
    pub refused: usize,
    /// Combinations with a difference beyond the bound.
    pub different: usize,
    /// Results compared.
    pub values: u64,
    /// Results with the same bits.
    pub equal: u64,
}

impl Sweep {
    /// As the text of a file.
    pub fn print(&self) -> String {
        let Self { device, driver, date, forms } = self;
        let mut out = format!("# device\t{device}\n# driver\t{driver}\n# date\t{date}\n");
        for ((syntax, n), s) in forms {
            let Swept { ran, refused, different, values, equal } = s;
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{syntax}\t{n}\t{ran}\t{refused}\t{different}\t{values}\t{equal}");
        }
        out
    }
    /// Reads what [`Sweep::print`] wrote; an error names the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut sweep = Self::default();
        for (number, line) in text.lines().enumerate() {
            sweep.line(line).ok_or_else(|| format!("line {} is no result: {line}", number + 1))?;
        }
        Ok(sweep)
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
        let syntax = fields.next()?.to_string();
        let mut number = || fields.next()?.parse::<u64>().ok();
        let n = number()? as usize;
        let (ran, refused, different) = (number()? as usize, number()? as usize, number()? as usize);
        let swept = Swept { ran, refused, different, values: number()?, equal: number()? };
        self.forms.insert((syntax, n), swept);
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

    #[test]
    fn a_sweep_reads_back() {
        let swept = Swept { ran: 4, refused: 1, different: 0, values: 40_960, equal: 40_959 };
        let sweep = Sweep {
            device: "NVIDIA H200".into(),
            driver: "580.1".into(),
            date: "2026-11-20".into(),
            forms: BTreeMap::from([(("setp.cmp.f64 p{|q}, a, b".into(), 1), swept)]),
        };
        assert_eq!(Sweep::parse(&sweep.print()), Ok(sweep));
        assert!(Sweep::parse("add\t0\t1").unwrap_err().starts_with("line 1"));
    }
}
