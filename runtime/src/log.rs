//! The log: lines on standard error, or in a file, chosen by `HETGPU_LOG`.

use std::collections::HashSet;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{Mutex, OnceLock};

/// How much is written. Each level includes those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    Off,
    /// What makes the program fail.
    Error,
    /// What the program asked for and did not get.
    Warn,
    /// Modules, devices, refused calls.
    Info,
    /// Every call, as it begins and as it ends.
    Trace,
}

impl Level {
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "off" | "0" => Self::Off,
            "error" => Self::Error,
            "warn" | "" => Self::Warn,
            "info" | "1" => Self::Info,
            "trace" => Self::Trace,
            _ => return None,
        })
    }
}

/// What is written beside the level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topic {
    /// Every call with its arguments, what it returned, and how long it took.
    Api,
    /// What is compiled, how, and how long it takes.
    Jit,
}

impl Topic {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "api" => Self::Api,
            "jit" => Self::Jit,
            _ => return None,
        })
    }

    /// The level from which on a topic is written anyway.
    fn level(self) -> Level {
        match self {
            Self::Api => Level::Trace,
            Self::Jit => Level::Info,
        }
    }
}

/// What `HETGPU_LOG` asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Wanted {
    level: Level,
    topics: Vec<Topic>,
}

impl Wanted {
    const NAMES: &'static str = "off, error, warn, info, trace, api, jit";

    /// Levels and topics with commas between them, and the words that are neither.
    fn parse(text: &str) -> (Self, Vec<&str>) {
        let mut wanted = Self { level: Level::Warn, topics: Vec::new() };
        let mut unknown = Vec::new();
        for word in text.split(',').map(str::trim) {
            match (Level::parse(word), Topic::parse(word)) {
                (Some(level), _) => wanted.level = level,
                (None, Some(topic)) => wanted.topics.push(topic),
                (None, None) => unknown.push(word),
            }
        }
        (wanted, unknown)
    }

    fn topic(&self, topic: Topic) -> bool {
        self.level >= topic.level() || self.topics.contains(&topic)
    }
}

struct Sink {
    wanted: Wanted,
    file: Option<Mutex<File>>,
}

fn sink() -> &'static Sink {
    static SINK: OnceLock<Sink> = OnceLock::new();
    SINK.get_or_init(|| {
        let setting = std::env::var("HETGPU_LOG").unwrap_or_default();
        let (words, path) = setting.split_once(':').unwrap_or((&setting, ""));
        let file = (!path.is_empty())
            .then(|| OpenOptions::new().create(true).append(true).open(path))
            .and_then(|opened| opened.map_err(|e| eprintln!("hetgpu: HETGPU_LOG: {path}: {e}")).ok())
            .map(Mutex::new);
        let (wanted, unknown) = Wanted::parse(words);
        for word in unknown {
            eprintln!("hetgpu: HETGPU_LOG: '{word}' is none of {}", Wanted::NAMES);
        }
        Sink { wanted, file }
    })
}

/// True where a line of this level would be written: ask before building an expensive one.
pub fn enabled(level: Level) -> bool {
    level <= sink().wanted.level
}

/// True where a line about this topic would be written.
pub fn follows(topic: Topic) -> bool {
    sink().wanted.topic(topic)
}

pub fn write(level: Level, text: fmt::Arguments<'_>) {
    if enabled(level) {
        put(text);
    }
}

/// Writes a line about a topic.
pub fn about(topic: Topic, text: fmt::Arguments<'_>) {
    if follows(topic) {
        put(text);
    }
}

fn put(text: fmt::Arguments<'_>) {
    let line = format!("hetgpu: {text}\n");
    match &sink().file {
        Some(file) => {
            let mut file = file.lock().unwrap_or_else(|e| e.into_inner());
            let _ = file.write_all(line.as_bytes());
        }
        None => {
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }
}

/// True the first time that it is asked for `key`.
pub fn first(key: &'static str) -> bool {
    static SEEN: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    SEEN.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert_default().insert(key)
}

pub fn error(text: fmt::Arguments<'_>) {
    write(Level::Error, text);
}

pub fn warn(text: fmt::Arguments<'_>) {
    write(Level::Warn, text);
}

pub fn info(text: fmt::Arguments<'_>) {
    write(Level::Info, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_and_every_word_is_known() {
        let (_, unknown) = Wanted::parse(Wanted::NAMES);
        assert!(unknown.is_empty(), "{unknown:?}");
        assert_eq!(Level::parse("loud"), None);
        assert!(Level::Error < Level::Warn && Level::Warn < Level::Info && Level::Info < Level::Trace);
    }

    #[test]
    fn topics_stand_beside_a_level_and_are_part_of_a_higher_one() {
        let wanted = |text| Wanted::parse(text).0;
        assert_eq!(wanted(""), Wanted { level: Level::Warn, topics: vec![] });
        assert_eq!(wanted("api"), Wanted { level: Level::Warn, topics: vec![Topic::Api] });
        assert_eq!(wanted("off, jit"), Wanted { level: Level::Off, topics: vec![Topic::Jit] });
        assert!(wanted("api").topic(Topic::Api) && !wanted("api").topic(Topic::Jit));
        assert!(wanted("info").topic(Topic::Jit) && !wanted("info").topic(Topic::Api));
        assert!(wanted("trace").topic(Topic::Api));
        assert_eq!(Wanted::parse("info,loud").1, ["loud"]);
    }

    #[test]
    fn first_is_true_once() {
        assert!(first("log::tests::once"));
        assert!(!first("log::tests::once"));
    }
}
