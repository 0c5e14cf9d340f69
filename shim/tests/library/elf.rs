//! What a library exports, read off its file.

use std::path::Path;

/// The definitions in the dynamic symbol table as `nm` shows them, sorted by name: `T` a function, `B` zeroed data, `D`
/// other data.
pub(crate) fn exports(path: &Path) -> Vec<(char, String)> {
    const DYNAMIC_SYMBOLS: usize = 11;
    const NO_BYTES: usize = 8;
    const FUNCTION: u8 = 2;
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let half = |at: usize| u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()) as usize;
    let (table, size, count) = (long(40), half(58), half(60));
    let headers: Vec<usize> = (0..count).map(|index| table + index * size).collect();
    let symbols = headers.iter().find(|&&header| word(header + 4) == DYNAMIC_SYMBOLS).unwrap();
    let names = long(headers[word(symbols + 40)] + 24);
    let (start, length) = (long(symbols + 24), long(symbols + 32));
    let defined = (start..start + length).step_by(24).filter(|&at| half(at + 6) != 0);
    let mut exports: Vec<_> = defined
        .map(|at| {
            let name = bytes[names + word(at)..].split(|&byte| byte == 0).next().unwrap();
            let kind = match bytes[at + 4] & 15 {
                FUNCTION => 'T',
                _ if word(headers[half(at + 6)] + 4) == NO_BYTES => 'B',
                _ => 'D',
            };
            (kind, String::from_utf8(name.to_vec()).unwrap())
        })
        .collect();
    exports.sort_by(|a, b| a.1.cmp(&b.1));
    exports
}

/// Compares with a list of lines `T name`, in any order.
pub(crate) fn assert_exports(path: &Path, expected: &str) {
    let line = |line: &str| (line.chars().next().unwrap_or(' '), line[1..].trim().to_owned());
    let expected: Vec<_> = expected.lines().filter(|text| !text.is_empty()).map(line).collect();
    let found = exports(path);
    let missing: Vec<_> = expected.iter().filter(|symbol| !found.contains(symbol)).collect();
    let foreign: Vec<_> = found.iter().filter(|symbol| !expected.contains(symbol)).collect();
    assert!(missing.is_empty() && foreign.is_empty(), "missing: {missing:?}\nforeign: {foreign:?}");
    assert_eq!(found.len(), expected.len(), "a name stands twice");
}
