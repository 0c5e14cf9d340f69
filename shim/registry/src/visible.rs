//! Which devices a program is to see, as `CUDA_VISIBLE_DEVICES` says. Every rule here is what NVIDIA's driver 580 did on an
//! H200.

use std::fmt;

/// The variable.
pub const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

/// A device is named twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Repeated {
    pub named: String,
}

impl fmt::Display for Repeated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VISIBLE} names the device '{}' twice; name each device once", self.named)
    }
}

/// The devices that a list names, up to the first entry that names none. The first entry decides whether the list is one of
/// numbers or of identities.
pub(crate) fn of(uuids: &[[u8; 16]], list: Option<&str>) -> Result<Vec<usize>, Repeated> {
    let Some(list) = list else { return Ok((0..uuids.len()).collect()) };
    let mut seen = Vec::new();
    let by_identity = identity(list).is_some();
    for entry in list.split(',') {
        let found = match by_identity {
            true => identity(entry).and_then(|prefix| only(uuids, &prefix)),
            false => number(entry).filter(|&index| index < uuids.len()),
        };
        match found {
            Some(index) if seen.contains(&index) => return Err(Repeated { named: entry.trim().to_owned() }),
            Some(index) => seen.push(index),
            None => break,
        }
    }
    Ok(seen)
}

/// The number that an entry begins with, in C's spellings; what stands behind it is nobody's business.
fn number(entry: &str) -> Option<usize> {
    let entry = entry.trim_start();
    let entry = entry.strip_prefix('+').unwrap_or(entry);
    let (digits, radix) = match entry.strip_prefix("0x").or_else(|| entry.strip_prefix("0X")) {
        Some(digits) if digits.starts_with(|c: char| c.is_ascii_hexdigit()) => (digits, 16),
        _ if entry.starts_with('0') => (entry, 8),
        _ => (entry, 10),
    };
    let length = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    usize::from_str_radix(&digits[..length], radix).ok()
}

/// The digits behind `GPU-`: at least one, at most all 32; more is cut off.
fn identity(entry: &str) -> Option<String> {
    const DIGITS: usize = 32;
    let digits = entry.trim_start().strip_prefix("GPU-")?;
    let digits: String =
        digits.chars().filter(|&c| c != '-').take_while(char::is_ascii_hexdigit).take(DIGITS).collect();
    (!digits.is_empty()).then(|| digits.to_ascii_lowercase())
}

/// The one device whose identity begins so.
fn only(uuids: &[[u8; 16]], prefix: &str) -> Option<usize> {
    let hex = |uuid: &[u8; 16]| uuid.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut matching = uuids.iter().enumerate().filter(|(_, uuid)| hex(uuid).starts_with(prefix));
    let (index, _) = matching.next()?;
    matching.next().is_none().then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lists that an H200 with one device was asked with, and what it answered.
    #[test]
    fn lists_mean_what_they_meant_on_hardware() {
        let uuid = [0xea, 0x36, 0x46, 0x18, 0x43, 0x97, 0xf1, 0x50, 0x26, 0xf1, 0x9e, 0xe0, 0x48, 0xca, 0x65, 0x9b];
        let whole = "GPU-ea364618-4397-f150-26f1-9ee048ca659b";
        let counts = [
            ("", 0),
            ("0", 1),
            ("1", 0),
            ("0,1", 1),
            ("1,0", 0),
            ("-1", 0),
            ("0,-1", 1),
            (whole, 1),
            ("GPU-ea364", 1),
            ("GPU-ea", 1),
            ("GPU-", 0),
            (&format!("GPU-{}", whole[4..].to_uppercase()), 1),
            (&format!("{whole},0"), 1),
            (&format!("0,{whole}"), 1),
            (&format!("{whole}x"), 1),
            (&format!("{whole},abc"), 1),
            (" 0", 1),
            ("0 ", 1),
            ("0x0", 1),
            ("00", 1),
            ("+0", 1),
            ("abc", 0),
            ("0abc", 1),
            ("0;1", 1),
            (",0", 0),
            ("0,,0", 1),
            ("NoDevFiles", 0),
            ("MIG-1", 0),
        ];
        for (list, count) in counts {
            assert_eq!(of(&[uuid], Some(list)).map(|seen| seen.len()), Ok(count), "'{list}'");
        }
        assert_eq!(of(&[uuid], Some("0,0")), Err(Repeated { named: "0".into() }));
        assert_eq!(of(&[uuid; 3], None), Ok(vec![0, 1, 2]));
    }

    #[test]
    fn several_devices_are_ordered_by_the_list() {
        let uuids = [[0x11; 16], [0x12; 16], [0x22; 16]];
        assert_eq!(of(&uuids, Some("2,0")), Ok(vec![2, 0]));
        assert_eq!(of(&uuids, Some("GPU-22,GPU-12")), Ok(vec![2, 1]));
        assert_eq!(of(&uuids, Some("GPU-1")), Ok(vec![]), "two devices begin so");
        assert_eq!(of(&uuids, Some("GPU-12,GPU-1212")), Err(Repeated { named: "GPU-1212".into() }));
    }
}
