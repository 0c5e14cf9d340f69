//! The two compressions of fatbin entries. Both fill a buffer that never has a capacity above the stated size and that
//! grows with the data, so that a large claim costs nothing until it is made good.

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Windows up to this size are accepted even for smaller images (RFC 8878, 3.1.1.1.2 recommends it of all decoders).
const SMALL_WINDOW: u64 = 8 << 20;

/// Makes room for `more` bytes, or says why not.
fn grow(out: &mut Vec<u8>, more: usize, size: usize) -> Result<(), String> {
    let needed = out.len().checked_add(more).filter(|&n| n <= size).ok_or("it holds more than the stated size")?;
    if needed > out.capacity() {
        let capacity = out.capacity().saturating_mul(2).clamp(needed, size);
        out.try_reserve_exact(capacity - out.len()).map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn complete(out: Vec<u8>, size: usize) -> Result<Vec<u8>, String> {
    if out.len() == size { Ok(out) } else { Err(format!("it holds {} bytes where {size} are stated", out.len())) }
}

/// Decodes an LZ4 block (LZ4 Block Format Description) of exactly `size` bytes uncompressed.
pub(super) fn lz4(block: &[u8], size: usize) -> Result<Vec<u8>, String> {
    const ENDS: &str = "it ends inside a sequence";
    let mut out = Vec::new();
    let mut rest = block;
    loop {
        let token = usize::from(*rest.split_off_first().ok_or(ENDS)?);
        let literals = lz4_length(token >> 4, &mut rest).ok_or(ENDS)?;
        let literals = rest.split_off(..literals).ok_or(ENDS)?;
        grow(&mut out, literals.len(), size)?;
        out.extend_from_slice(literals);
        // The last sequence has literals only.
        if rest.is_empty() {
            return complete(out, size);
        }
        let offset = rest.split_off(..2).and_then(|b| super::u16_at(b, 0)).ok_or(ENDS)?;
        let mut left = lz4_length(token & 15, &mut rest).ok_or(ENDS)?.saturating_add(4);
        let start = match out.len().checked_sub(usize::from(offset)) {
            Some(start) if offset != 0 => start,
            _ => return Err(format!("it refers {offset} bytes back, from byte {}", out.len())),
        };
        grow(&mut out, left, size)?;
        // A match may reach into what it writes itself, so it repeats with the period `offset`. What can be copied
        // at once is always a multiple of that, and doubles.
        while left > 0 {
            let count = left.min(out.len() - start);
            out.extend_from_within(start..start + count);
            left -= count;
        }
    }
}

/// A length of a sequence: four bits of the token, continued in further bytes if all are set.
fn lz4_length(nibble: usize, rest: &mut &[u8]) -> Option<usize> {
    let mut length = nibble;
    let mut more = nibble == 15;
    while more {
        let byte = *rest.split_off_first()?;
        length = length.saturating_add(usize::from(byte));
        more = byte == 255;
    }
    Some(length)
}

/// Decodes a Zstandard frame (RFC 8878) of exactly `size` bytes uncompressed. Beside the output, the decoder holds one
/// window (at most `size` or [`SMALL_WINDOW`], whichever is larger) and one block.
pub(super) fn zstd(frame: &[u8], size: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut rest = frame;
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(SMALL_WINDOW.max(size as u64));
    decoder.init(&mut rest).map_err(|e| e.to_string())?;
    loop {
        let finished =
            decoder.decode_blocks(&mut rest, BlockDecodingStrategy::UptoBlocks(1)).map_err(|e| e.to_string())?;
        grow(&mut out, decoder.can_collect(), size)?;
        decoder.collect_to_writer(&mut out).map_err(|e| e.to_string())?;
        if finished {
            return complete(out, size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lz4_overlapping_matches_repeat_with_their_period() {
        // Three literals, a match of 4 + 15 + 6 = 25 bytes with offset 3, then one literal.
        let block = [0x3F, b'a', b'b', b'c', 3, 0, 6, 0x10, b'!'];
        let expected = [b"abc".repeat(10).as_slice(), b"!"].concat();
        assert_eq!(lz4(&block, 29), Ok([&expected[..28], b"!"].concat()));
    }

    #[test]
    fn capacity_stays_within_the_stated_size() {
        let mut block = vec![0x1F, b'x', 1, 0];
        block.extend([255; 400]);
        block.extend([0, 0x10, b'y']);
        // 1 literal, a match of 4 + 15 + 400 * 255, 1 literal.
        let size = 1 + 4 + 15 + 400 * 255 + 1;
        let out = lz4(&block, size).unwrap();
        assert!(out.capacity() <= size);
        assert!(lz4(&block, size - 1).is_err() && lz4(&block, size + 1).is_err());
        assert!(lz4(&block, usize::MAX).is_err());
    }
}
