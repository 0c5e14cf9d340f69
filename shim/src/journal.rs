//! What calls failed with, as programs ask for it (`cuLogs*`): the last lines, and functions that hear of every new one.
//! The forms of lines are those of NVIDIA's driver 580, so that programs that read them can.

use crate::abi::{LogFunction, Pointer, who_calls_whole};
use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::CString;
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

/// Most bytes of lines that are kept.
const LIMIT: usize = 25_600;
/// Stands where lines would be that are not kept any more, or that there is no room for.
const MISSING: &str = "Earlier messages are missing here\n";
/// `CU_LOG_LEVEL_ERROR`.
const ERROR: u32 = 0;

struct Journal {
    lines: VecDeque<String>,
    bytes: usize,
    /// Number of the first line that is kept.
    first: u32,
    listeners: Vec<(u64, LogFunction, Pointer)>,
    next_listener: u64,
}

static JOURNAL: Mutex<Journal> =
    Mutex::new(Journal { lines: VecDeque::new(), bytes: 0, first: 0, listeners: Vec::new(), next_listener: 1 });

thread_local! {
    /// A listener of this thread is being told: what it does wrong is not told to it.
    static TELLING: Cell<bool> = const { Cell::new(false) };
}

fn lock() -> MutexGuard<'static, Journal> {
    JOURNAL.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Journal {
    fn add(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.bytes > LIMIT && self.lines.len() > 1 {
            self.bytes -= self.lines.pop_front().map_or(0, |line| line.len());
            self.first = self.first.wrapping_add(1);
        }
    }

    /// The number of the line that comes next.
    fn end(&self) -> u32 {
        self.first.wrapping_add(self.lines.len() as u32)
    }

    /// The lines from a number on, newest last, in as many bytes; none if there are some and no room for the newest.
    fn text(&self, from: Option<u32>, room: usize) -> Option<String> {
        let skip = from.map_or(0, |from| from.saturating_sub(self.first) as usize).min(self.lines.len());
        let lost = from.is_some_and(|from| from < self.first) || from.is_none() && self.first > 0;
        let wanted: Vec<&String> = self.lines.iter().skip(skip).collect();
        let all: usize = wanted.iter().map(|line| line.len()).sum();
        let header = if lost || all > room { MISSING } else { "" };
        let mut left = room.checked_sub(header.len())?;
        let fitting = wanted.iter().rev().take_while(|line| {
            let fits = line.len() <= left;
            left -= if fits { line.len() } else { 0 };
            fits
        });
        let count = fitting.count();
        if count == 0 && !wanted.is_empty() {
            return None;
        }
        let lines = wanted[wanted.len() - count..].iter().map(|line| line.as_str());
        Some([header].into_iter().chain(lines).collect())
    }
}

/// Hours, minutes, seconds and thousandths of a day in UTC.
fn clock() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, thousandths) = (now.as_secs(), now.subsec_millis());
    format!("{:02}:{:02}:{:02}.{thousandths:03}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

/// Writes a line down and tells those who listen.
pub(crate) fn record(message: &str) {
    // The driver's lines hold no line breaks.
    let message = message.replace(['\n', '\0'], " ");
    let listeners: Vec<(LogFunction, Pointer)> = {
        let mut journal = lock();
        journal.add(format!("[{}][{}][CUDA][E] {message}\n", clock(), who_calls_whole()));
        journal.listeners.iter().map(|&(_, function, data)| (function, data)).collect()
    };
    if listeners.is_empty() || TELLING.replace(true) {
        return;
    }
    if let Ok(text) = CString::new(message) {
        for (function, data) in listeners {
            function(data, ERROR, text.as_ptr(), text.as_bytes().len());
        }
    }
    TELLING.set(false);
}

/// Lets a function hear of new lines; what it is called from now on.
pub(crate) fn listen(function: LogFunction, data: Pointer) -> Pointer {
    let mut journal = lock();
    let name = journal.next_listener;
    journal.next_listener += 1;
    journal.listeners.push((name, function, data));
    Pointer(name)
}

/// False where nobody of that name listens.
pub(crate) fn leave(name: Pointer) -> bool {
    let mut journal = lock();
    let before = journal.listeners.len();
    journal.listeners.retain(|listener| listener.0 != name.0);
    journal.listeners.len() < before
}

pub(crate) fn end() -> u32 {
    lock().end()
}

/// The lines from a number on in as many bytes, and the number of the line after them; none where there is no room for the
/// newest.
pub(crate) fn text(from: Option<u32>, room: usize) -> Option<(String, u32)> {
    let journal = lock();
    Some((journal.text(from, room)?, journal.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(lines: &[&str]) -> Journal {
        let mut journal =
            Journal { lines: VecDeque::new(), bytes: 0, first: 0, listeners: Vec::new(), next_listener: 1 };
        lines.iter().for_each(|line| journal.add(format!("{line}\n")));
        journal
    }

    #[test]
    fn the_newest_lines_come_where_not_all_fit() {
        let journal = journal(&["first", "second", "third"]);
        let text = |from, room| journal.text(from, room);
        assert_eq!(text(None, 100).unwrap(), "first\nsecond\nthird\n");
        assert_eq!(text(Some(1), 100).unwrap(), "second\nthird\n");
        assert_eq!(text(Some(3), 100).unwrap(), "");
        assert_eq!(text(None, 19).unwrap(), "first\nsecond\nthird\n");
        assert_eq!(text(None, 18), None, "where lines are left out there must be room to say so");
        assert_eq!(text(Some(2), 5), None);
    }

    #[test]
    fn what_is_left_out_is_said() {
        let lines = ["a".repeat(40), "b".repeat(40), "c".repeat(40)];
        let journal = journal(&lines.each_ref().map(String::as_str));
        assert_eq!(journal.text(None, 120).unwrap(), format!("{MISSING}{}\n{}\n", lines[1], lines[2]));
        assert_eq!(journal.text(None, 80).unwrap(), format!("{MISSING}{}\n", lines[2]));
    }

    #[test]
    fn a_journal_keeps_only_so_much() {
        let mut journal = journal(&[]);
        let line = "x".repeat(999);
        (0..30).for_each(|_| journal.add(format!("{line}\n")));
        assert_eq!((journal.lines.len(), journal.first, journal.end()), (25, 5, 30));
        let text = journal.text(None, LIMIT).unwrap();
        assert!(text.starts_with(MISSING) && text.lines().count() == 26);
        assert_eq!(journal.text(Some(28), LIMIT).unwrap().lines().count(), 2);
    }
}
