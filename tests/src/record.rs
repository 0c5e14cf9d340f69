//! What NVIDIA's hardware said: `tests/hardware/h200.tsv` of the filetests and `h200-sweep.tsv` of the sweep, both written by
//! `hetgpu-hwcheck --record`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The results of one session on the hardware.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Session<E> {
    pub device: String,
    pub driver: String,
    pub date: String,
    /// By name and a number.
    pub results: BTreeMap<(String, usize), E>,
}

/// What is recorded under one name and number: a line's fields behind these two.
pub trait Entry: Sized {
    /// The fields, separated by tabs.
    fn print(&self) -> String;
    /// The entry whose fields these are; what it leaves of them is too much.
    fn parse<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<Self>;
}

/// The filetests, by file and run.
pub type Record = Session<Outcome>;

/// What became of one run.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Outcome {
    /// [`crate::files::fingerprint`] of the file.
    pub fingerprint: u64,
    /// `ok`, `skipped`, or what went wrong.
    pub status: String,
    /// Why.
    pub detail: String,
}

impl Entry for Outcome {
    fn print(&self) -> String {
        let Self { fingerprint, status, detail } = self;
        let detail = detail.lines().next().unwrap_or_default().replace('\t', " ");
        format!("{fingerprint:016x}\t{status}\t{detail}")
    }
    fn parse<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        let fingerprint = u64::from_str_radix(fields.next()?, 16).ok()?;
        Some(Self { fingerprint, status: fields.next()?.into(), detail: fields.next()?.into() })
    }
}

/// The sweep, by syntax line and number of the form among those of the same line.
pub type Sweep = Session<Swept>;

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

impl Entry for Swept {
    fn print(&self) -> String {
        let Self { ran, refused, different, values, equal } = self;
        format!("{ran}\t{refused}\t{different}\t{values}\t{equal}")
    }
    fn parse<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut number = || fields.next()?.parse::<u64>().ok();
        let (ran, refused, different) = (number()? as usize, number()? as usize, number()? as usize);
        Some(Self { ran, refused, different, values: number()?, equal: number()? })
    }
}

/// Where the record of this repository is.
pub fn default_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hardware/h200.tsv")
}

/// Where the record of the sweep of this repository is.
pub fn sweep_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hardware/h200-sweep.tsv")
}

impl<E: Entry + Default> Session<E> {
    /// As the text of a file.
    pub fn print(&self) -> String {
        let Self { device, driver, date, results } = self;
        let mut out = format!("# device\t{device}\n# driver\t{driver}\n# date\t{date}\n");
        for ((name, number), entry) in results {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{name}\t{number}\t{}", entry.print());
        }
        out
    }
    /// Reads what [`Session::print`] wrote; an error names the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut session = Self::default();
        for (number, line) in text.lines().enumerate() {
            session.line(line).ok_or_else(|| format!("line {} is no result: {line}", number + 1))?;
        }
        Ok(session)
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
        let entry = E::parse(&mut fields)?;
        self.results.insert(key, entry);
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
            results: BTreeMap::from([(("setp.cmp.f64 p{|q}, a, b".into(), 1), swept)]),
        };
        assert_eq!(Sweep::parse(&sweep.print()), Ok(sweep));
        assert!(Sweep::parse("add\t0\t1").unwrap_err().starts_with("line 1"));
        assert!(Sweep::parse("add\t0\t1\t2\t3\t4\t5\t6").is_err());
    }
}
