//! Archives of object files, as `ar` makes them: a magic line, then members behind headers of 60 bytes of text, each
//! at an even offset. Symbol tables and tables of long names are members too, whose names begin with a slash.

use hetir::diag::Diagnostic;

use super::{slice, span, truncated};

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER: usize = 60;

/// Whether bytes begin as an archive does.
pub fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// The contents of an archive's files, in order.
pub fn members(bytes: &[u8]) -> Result<Vec<&[u8]>, Diagnostic> {
    if !is_archive(bytes) {
        return Err(Diagnostic::error("container::archive", "not an archive: it does not begin with `!<arch>`"));
    }
    let mut found = Vec::new();
    let mut at = MAGIC.len();
    while at < bytes.len() {
        let header = bytes[at..]
            .first_chunk::<HEADER>()
            .ok_or_else(|| truncated("the header of an archive's file", at, bytes))?;
        let size = std::str::from_utf8(&header[48..58]).ok().and_then(|text| text.trim_end().parse::<u64>().ok());
        let size = size.filter(|_| header[58..] == *b"`\n").ok_or_else(|| {
            Diagnostic::error("container::archive", "the header of an archive's file is damaged")
                .at(span(at, HEADER), "")
        })?;
        let start = at + HEADER;
        let member = slice(bytes, start as u64, size).ok_or_else(|| truncated("a file of an archive", start, bytes))?;
        if header[0] != b'/' || header[1].is_ascii_digit() {
            found.push(member);
        }
        at = (start + member.len()).next_multiple_of(2);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, contents: &[u8]) -> Vec<u8> {
        let mut out = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 644, contents.len()).into_bytes();
        out.extend_from_slice(contents);
        out.resize(out.len().next_multiple_of(2), b'\n');
        out
    }

    #[test]
    fn files_come_out_and_tables_do_not() {
        let archive =
            [MAGIC, &file("/", b"sym"), &file("//", b"long/\n"), &file("a.o/", b"one"), &file("/0", b"two")].concat();
        assert_eq!(members(&archive).unwrap(), [&b"one"[..], b"two"]);
        assert!(members(MAGIC).unwrap().is_empty());
    }

    #[test]
    fn a_damaged_archive_is_refused() {
        let archive = [MAGIC, &file("a.o/", b"contents")].concat();
        for length in 0..archive.len() {
            let whole = length == MAGIC.len();
            assert_eq!(members(&archive[..length]).is_ok(), whole, "cut to {length} bytes");
        }
        assert!(members(&[MAGIC, &[b'x'; 70]].concat()).is_err());
    }
}
