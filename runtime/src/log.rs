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
    /// Every call.
    Trace,
}

impl Level {
    pub const NAMES: &'static str = "off, error, warn, info, trace";

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

struct Sink {
    level: Level,
    file: Option<Mutex<File>>,
}

fn sink() -> &'static Sink {
    static SINK: OnceLock<Sink> = OnceLock::new();
    SINK.get_or_init(|| {
        let setting = std::env::var("HETGPU_LOG").unwrap_or_default();
        let (level, path) = setting.split_once(':').unwrap_or((&setting, ""));
        let file = (!path.is_empty())
            .then(|| OpenOptions::new().create(true).append(true).open(path))
            .and_then(|opened| opened.map_err(|e| eprintln!("hetgpu: HETGPU_LOG: {path}: {e}")).ok())
            .map(Mutex::new);
        let level = Level::parse(level).unwrap_or_else(|| {
            eprintln!("hetgpu: HETGPU_LOG: '{level}' is none of {}", Level::NAMES);
            Level::Warn
        });
        Sink { level, file }
    })
}

/// True where a line of this level would be written: ask before building an expensive one.
pub fn enabled(level: Level) -> bool {
    level <= sink().level
}

pub fn write(level: Level, text: fmt::Arguments<'_>) {
    if !enabled(level) {
        return;
    }
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
    fn levels_are_ordered_and_named() {
        for name in Level::NAMES.split(", ") {
            assert!(Level::parse(name).is_some(), "{name}");
        }
        assert_eq!(Level::parse(""), Some(Level::Warn));
        assert_eq!(Level::parse("loud"), None);
        assert!(Level::Error < Level::Warn && Level::Warn < Level::Info && Level::Info < Level::Trace);
    }

    #[test]
    fn first_is_true_once() {
        assert!(first("log::tests::once"));
        assert!(!first("log::tests::once"));
    }
}
