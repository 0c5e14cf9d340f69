//! How far something is: a line on a terminal, or events as lines of JSON.

use crate::line::Line;
use crate::say;
use serde_json::{Value, json};
use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Shows events of one command.
pub(crate) struct Show {
    json: bool,
    terminal: bool,
    aside: bool,
    begun: Cell<Instant>,
    dirty: Cell<bool>,
}

impl Show {
    pub(crate) fn new(line: &Line) -> Self {
        let json = line.has("--json");
        let terminal = !json && std::io::stderr().is_terminal();
        Self { json, terminal, aside: false, begun: Cell::new(Instant::now()), dirty: Cell::new(false) }
    }

    /// All that is said goes where errors go: the standard output is something else's.
    pub(crate) fn aside(self) -> Self {
        Self { aside: true, ..self }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Something new begins.
    pub(crate) fn phase(&self, name: &str) {
        self.clear();
        self.begun.set(Instant::now());
        if self.json {
            self.line(json!({ "event": "phase", "phase": name }));
        }
    }

    /// An event.
    pub(crate) fn tell(&self, event: &Value) {
        if self.json {
            self.line(event);
        } else if self.terminal && event["event"] == json!("progress") {
            let (done, all) = (event["done"].as_u64().unwrap_or(0), event["all"].as_u64().unwrap_or(0));
            if all > 0 {
                let _ = write!(std::io::stderr(), "\r{}\x1b[K", bar(done, all, self.begun.get().elapsed()));
                self.dirty.set(true);
            }
        }
    }

    /// A line for a person; as JSON the answer itself.
    pub(crate) fn end(&self, answer: &Value, text: impl FnOnce() -> String) {
        self.clear();
        match self.json {
            true => self.line(answer),
            false => self.line(text()),
        }
    }

    /// A line for a person alone.
    pub(crate) fn note(&self, text: impl FnOnce() -> String) {
        if !self.json {
            self.clear();
            self.line(text());
        }
    }

    fn line(&self, text: impl std::fmt::Display) {
        match self.aside {
            true => drop(writeln!(std::io::stderr(), "{text}")),
            false => say(text),
        }
    }

    /// Takes the line on the terminal away.
    pub(crate) fn clear(&self) {
        if self.dirty.take() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// Bytes as people read them.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}

/// How far it is: a bar, bytes, rate and the time that is left.
fn bar(done: u64, all: u64, since: Duration) -> String {
    const WIDTH: u64 = 30;
    let full = (done.min(all) * WIDTH / all.max(1)) as usize;
    let rate = done as f64 / since.as_secs_f64().max(1e-3);
    let left = if rate > 0.0 { all.saturating_sub(done) as f64 / rate } else { 0.0 };
    let (bar, rest) = ("#".repeat(full), ".".repeat(WIDTH as usize - full));
    format!("[{bar}{rest}] {} of {}, {}/s, {left:.0} s left", size(done), size(all), size(rate as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_by_people() {
        assert_eq!([0, 1023, 1024, 3 << 20, 5 << 30].map(size), ["0 B", "1023 B", "1.0 KiB", "3.0 MiB", "5.0 GiB"]);
    }

    #[test]
    fn a_bar_has_bytes_rate_and_time() {
        let half = bar(1 << 30, 2 << 30, Duration::from_secs(2));
        assert_eq!(half, "[###############...............] 1.0 GiB of 2.0 GiB, 512.0 MiB/s, 2 s left");
        assert!(bar(0, 0, Duration::ZERO).contains("0 s left"));
    }
}
