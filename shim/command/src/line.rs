//! Commands, their flags, and command lines.

use crate::Outcome;

/// A command.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// What it takes besides flags, as help shows it.
    pub(crate) arguments: &'static str,
    pub(crate) about: &'static str,
    pub(crate) flags: &'static [Flag],
    /// Everything from the first argument on belongs to that argument.
    pub(crate) takes_all: bool,
    pub(crate) run: fn(&Line) -> Outcome,
}

/// A flag of a command.
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    /// What its value is called, if it has one.
    pub(crate) value: Option<&'static str>,
    pub(crate) about: &'static str,
}

impl Flag {
    pub(crate) fn usage(&self) -> String {
        match self.value {
            Some(value) => format!("{} {value}", self.name),
            None => self.name.to_owned(),
        }
    }
}

impl Command {
    pub(crate) fn usage(&self) -> String {
        let flags = self.flags.iter().map(|flag| format!("[{}]", flag.usage()));
        let parts = [self.name.to_owned()].into_iter().chain(flags).chain([self.arguments.to_owned()]);
        parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// `tool`: the name of the program.
    pub(crate) fn help(&self, tool: &str) -> String {
        let width = self.flags.iter().map(|flag| flag.usage().len()).max().unwrap_or(0);
        let flags = self.flags.iter().map(|flag| format!("\n  {:width$}  {}", flag.usage(), flag.about));
        let mut text = format!("{tool} {}\n{}", self.usage(), self.about);
        if !self.flags.is_empty() {
            text.push('\n');
        }
        text.extend(flags);
        text
    }
}

/// A command line.
#[derive(PartialEq, Eq, Debug, Default)]
pub(crate) struct Line {
    flags: Vec<(&'static str, String)>,
    pub(crate) arguments: Vec<String>,
}

impl Line {
    /// None where help is asked for.
    pub(crate) fn parse(command: &Command, words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut line = Self::default();
        let mut words = words;
        let mut flags_end = false;
        while let Some(word) = words.next() {
            if flags_end || !word.starts_with('-') || word == "-" {
                line.arguments.push(word);
                if command.takes_all {
                    line.arguments.extend(words.by_ref());
                }
                continue;
            }
            match word.as_str() {
                "--" => {
                    flags_end = true;
                    continue;
                }
                "--help" | "-h" => return Ok(None),
                _ => {}
            }
            let (name, given) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
            let flag = command.flags.iter().find(|flag| flag.name == name);
            let flag = flag.ok_or_else(|| format!("{} has no option {name}; --help lists them", command.name))?;
            let value = match (flag.value, given) {
                (None, None) => String::new(),
                (None, Some(_)) => return Err(format!("{name} takes no value")),
                (Some(_), Some(value)) => value.to_owned(),
                (Some(value), None) => words.next().ok_or_else(|| format!("{name} wants {value}"))?,
            };
            line.flags.push((flag.name, value));
        }
        Ok(Some(line))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The last value wins.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.flags.iter().rev().find(|flag| flag.0 == name).map(|flag| flag.1.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::COMMANDS;

    fn parse(words: &str) -> Result<Option<Line>, String> {
        let mut words = words.split_ascii_whitespace().map(str::to_owned);
        let name = words.next().unwrap();
        Line::parse(COMMANDS.iter().find(|command| command.name == name).unwrap(), words)
    }

    #[test]
    fn what_belongs_to_the_program_is_left_to_it() {
        let line = parse("run --device interp --quiet ./program --device 3 -- x").unwrap().unwrap();
        assert_eq!((line.value("--device"), line.has("--quiet")), (Some("interp"), true));
        assert_eq!(line.arguments, ["./program", "--device", "3", "--", "x"]);
        let line = parse("run --device=cpu -- --odd --help").unwrap().unwrap();
        assert_eq!(
            (line.value("--device"), &line.arguments[..]),
            (Some("cpu"), &["--odd".into(), "--help".into()][..])
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(parse("devices --help"), Ok(None));
        assert_eq!(parse("devices --jsn").unwrap_err(), "devices has no option --jsn; --help lists them");
        assert_eq!(parse("devices --json=1").unwrap_err(), "--json takes no value");
        assert_eq!(parse("run --device").unwrap_err(), "--device wants NAMES");
    }
}
