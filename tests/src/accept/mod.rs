//! What is legal PTX, asked of the front end and of NVIDIA's assembler: instructions that the rows of the front end
//! allow, and mutations of them, each judged by both. Where they disagree, [`known`] says why, or it is a finding.

pub mod generate;
pub mod judge;
pub mod known;

use std::collections::BTreeMap;
use std::path::Path;

use judge::Verdict;
use known::Side;

/// A difference that nothing explains, with those like it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Who accepts it.
    pub side: Side,
    /// The instruction's name.
    pub base: String,
    /// What the other one says.
    pub message: String,
    /// How many there are.
    pub count: usize,
    /// Some of them.
    pub examples: Vec<String>,
}

/// What a sweep found.
#[derive(Clone, Default, Debug)]
pub struct Report {
    /// Instructions on which both agree that they are legal.
    pub legal: usize,
    /// Instructions on which both agree that they are not.
    pub illegal: usize,
    /// Instructions on which they differ as is known.
    pub known: usize,
    /// Differences that are not known.
    pub findings: Vec<Finding>,
}

/// How an error begins that the assembler makes of another instruction: it is then asked about this one alone.
const GUESS: &str = "Unknown symbol";

/// Most examples of one finding.
const EXAMPLES: usize = 4;

/// Compares the verdicts on some instructions in modules of a version and target. `tell` is given each with both
/// verdicts.
pub fn compare(
    ptxas: &Path,
    isa: (&str, &str),
    cases: &[String],
    mut tell: impl FnMut(&str, &Verdict, Option<&str>),
) -> Result<Report, String> {
    let ours = judge::ours_for(isa, cases);
    let theirs = judge::theirs_for(ptxas, isa, cases)?;
    for ((line, ours), theirs) in cases.iter().zip(&ours).zip(&theirs) {
        tell(line, ours, theirs.as_deref());
    }
    let mut report = Report::default();
    let mut groups: BTreeMap<(Side, String, String), (usize, Vec<String>)> = BTreeMap::new();
    for ((line, ours), theirs) in cases.iter().zip(&ours).zip(&theirs) {
        let (side, message) = match (ours, theirs) {
            // Forms that are refused by name are judged by their names alone.
            (Verdict::Accepts, None) | (Verdict::Unsupported, None) => {
                report.legal += 1;
                continue;
            }
            (Verdict::Refuses { message, .. }, Some(theirs)) if theirs.starts_with(GUESS) => {
                match judge::theirs_alone(ptxas, isa, line)? {
                    Some(_) => {
                        report.illegal += 1;
                        continue;
                    }
                    None => (Side::Theirs, message.clone()),
                }
            }
            (Verdict::Refuses { .. }, Some(_)) | (Verdict::Unsupported, Some(_)) => {
                report.illegal += 1;
                continue;
            }
            (Verdict::Accepts, Some(_)) => match judge::theirs_alone(ptxas, isa, line)? {
                Some(message) => (Side::Ours, message),
                None => {
                    report.legal += 1;
                    continue;
                }
            },
            (Verdict::Refuses { message, .. }, None) => (Side::Theirs, message.clone()),
        };
        if known::explain(side, line, &message).is_some() {
            report.known += 1;
            continue;
        }
        let base = generate::base(line).to_string();
        let group = groups.entry((side, base, general(&message))).or_default();
        group.0 += 1;
        if group.1.len() < EXAMPLES {
            group.1.push(line.clone());
        }
    }
    report.findings = groups
        .into_iter()
        .map(|((side, base, message), (count, examples))| Finding { side, base, message, count, examples })
        .collect();
    Ok(report)
}

/// The known differences that are none any more: what their examples say now.
pub fn stale(ptxas: &Path) -> Result<Vec<String>, String> {
    let examples: Vec<String> = known::KNOWN.iter().map(|known| known.example.to_string()).collect();
    let ours = judge::ours(&examples);
    let mut out = Vec::new();
    for ((known, example), ours) in known::KNOWN.iter().zip(&examples).zip(&ours) {
        let theirs = judge::theirs_alone(ptxas, judge::NEWEST, example)?;
        let differs = match (known.side, ours, &theirs) {
            (Side::Ours, Verdict::Accepts, Some(message)) => message.contains(known.message),
            (Side::Theirs, Verdict::Refuses { message, .. }, None) => message.contains(known.message),
            _ => false,
        };
        if !differs {
            let theirs = theirs.as_deref().unwrap_or("accepts it");
            out.push(format!("{}\n    the front end: {ours:?}\n    the assembler: {theirs}", known.example));
        }
    }
    Ok(out)
}

/// A message without what differs from case to case: names and numbers in quotes.
fn general(message: &str) -> String {
    let mut out = String::new();
    for (n, piece) in message.split(['`', '\'']).enumerate() {
        out.push_str(if n % 2 == 1 { "*" } else { piece });
    }
    out
}
