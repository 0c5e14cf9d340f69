//! The proof that the CUDA runtime library asks of a driver: a keyed MD2 digest over facts that both know.

use crate::abi::{self, Flavour, Out, Slot, Table, enter, not_supported};
use crate::calls::device;
use crate::result::{Code, Outcome};
use crate::{state, tables};

/// The substitution table of MD2: a permutation of the bytes made from the digits of pi (RFC 1319).
const PI: [u8; 256] = [
    41, 46, 67, 201, 162, 216, 124, 1, 61, 54, 84, 161, 236, 240, 6, 19, 98, 167, 5, 243, 192, 199, 115, 140, 152, 147,
    43, 217, 188, 76, 130, 202, 30, 155, 87, 60, 253, 212, 224, 22, 103, 66, 111, 24, 138, 23, 229, 18, 190, 78, 196,
    214, 218, 158, 222, 73, 160, 251, 245, 142, 187, 47, 238, 122, 169, 104, 121, 145, 21, 178, 7, 63, 148, 194, 16,
    137, 11, 34, 95, 33, 128, 127, 93, 154, 90, 144, 50, 39, 53, 62, 204, 231, 191, 247, 151, 3, 255, 25, 48, 179, 72,
    165, 181, 209, 215, 94, 146, 42, 172, 86, 170, 198, 79, 184, 56, 210, 150, 164, 125, 182, 118, 252, 107, 226, 156,
    116, 4, 241, 69, 157, 112, 89, 100, 113, 135, 32, 134, 91, 207, 101, 230, 45, 168, 2, 27, 96, 37, 173, 174, 176,
    185, 246, 28, 70, 97, 105, 52, 64, 126, 15, 85, 71, 163, 35, 221, 81, 175, 58, 195, 92, 249, 206, 186, 197, 234,
    38, 44, 83, 13, 110, 133, 40, 132, 9, 211, 223, 205, 244, 65, 129, 77, 82, 106, 220, 55, 200, 108, 193, 171, 250,
    36, 225, 123, 8, 12, 189, 177, 74, 120, 136, 149, 139, 227, 99, 232, 109, 233, 203, 213, 254, 59, 0, 29, 57, 242,
    239, 183, 14, 102, 88, 208, 228, 166, 119, 114, 248, 235, 117, 75, 10, 49, 68, 80, 180, 143, 237, 31, 26, 219, 153,
    141, 51, 159, 17, 131, 20,
];

const BLOCK: usize = 16;

fn md2(message: &[u8]) -> [u8; 16] {
    let fill = BLOCK - message.len() % BLOCK;
    let mut padded = message.to_vec();
    padded.extend(std::iter::repeat_n(fill as u8, fill));

    let mut checksum = [0u8; BLOCK];
    let mut last = 0;
    for block in padded.chunks_exact(BLOCK) {
        for (sum, byte) in checksum.iter_mut().zip(block) {
            *sum ^= PI[usize::from(byte ^ last)];
            last = *sum;
        }
    }
    padded.extend(checksum);

    let mut state = [0u8; 48];
    for block in padded.chunks_exact(BLOCK) {
        for at in 0..BLOCK {
            state[16 + at] = block[at];
            state[32 + at] = state[16 + at] ^ state[at];
        }
        let mut mixed = 0u8;
        for round in 0..18 {
            for byte in &mut state {
                *byte ^= PI[usize::from(mixed)];
                mixed = *byte;
            }
            mixed = mixed.wrapping_add(round);
        }
    }
    state[..16].try_into().expect("16 bytes")
}

/// HMAC (RFC 2104) over MD2; the key is no longer than a block.
fn hmac(key: &[u8; BLOCK], message: &[u8]) -> [u8; 16] {
    let inner: Vec<u8> = key.iter().map(|byte| byte ^ 0x36).chain(message.iter().copied()).collect();
    let outer: Vec<u8> = key.iter().map(|byte| byte ^ 0x5c).chain(md2(&inner)).collect();
    md2(&outer)
}

const KEY: [u8; BLOCK] =
    [0x14, 0x6A, 0xDD, 0xAE, 0x53, 0xA9, 0xA7, 0x52, 0xAA, 0x08, 0x41, 0x36, 0x0B, 0xF5, 0x5A, 0x9F];

/// What a device is known by.
pub(crate) struct Identity {
    pub(crate) uuid: [u8; 16],
    pub(crate) pci_domain: i32,
    pub(crate) pci_bus: i32,
    pub(crate) pci_device: i32,
}

/// What the digest covers besides the devices.
pub(crate) struct Facts {
    pub(crate) driver_version: u32,
    pub(crate) version: u32,
    pub(crate) process: u32,
    /// The low half of `pthread_self`.
    pub(crate) thread: u32,
    pub(crate) runtime_table: u64,
    pub(crate) integrity_table: u64,
    pub(crate) integrity_function: u64,
    pub(crate) unix_seconds: u64,
}

/// The answer for one of the three questions; the last digit of the version says which.
pub(crate) fn answer(facts: &Facts, devices: &[Identity]) -> [u64; 2] {
    match facts.version % 10 {
        0 => [0x3341_181C_03CB_675C, 0x8ED3_83AA_1F4C_D1E8],
        1 => [0x1841_181C_03CB_675C, 0x8ED3_83AA_1F4C_D1E8],
        _ => {
            let mut message = Vec::new();
            for word in [facts.driver_version, facts.version, facts.process, facts.thread] {
                message.extend(word.to_le_bytes());
            }
            let long = [facts.runtime_table, facts.integrity_table, facts.integrity_function, facts.unix_seconds];
            for word in long {
                message.extend(word.to_le_bytes());
            }
            for device in devices {
                message.extend(device.uuid);
                for word in [device.pci_domain, device.pci_bus, device.pci_device] {
                    message.extend(word.to_le_bytes());
                }
            }
            let digest = hmac(&KEY, &message);
            let half = |at: usize| u64::from_le_bytes(digest[at..at + 8].try_into().expect("8 bytes"));
            [half(0), half(8)]
        }
    }
}

/// The private table by which the answer is asked for.
pub(crate) static TABLE: Table<3> =
    Table([Table::<3>::BYTES, Slot { function: check as *const () }, Slot { function: unused as *const () }]);

extern "C" fn unused() -> Code {
    not_supported("integrity 2")
}

extern "C" fn check(version: u32, unix_seconds: u64, result: Out<[u64; 2]>) -> Code {
    let show = |_| format!("{version}, {unix_seconds}, {result:?}");
    enter("integrity check", Flavour::Legacy, &show, |_| {
        let runtime = state::runtime()?;
        let (process, thread) = abi::who_calls();
        let facts = Facts {
            driver_version: state::settings().driver_version as u32,
            version,
            process,
            thread,
            runtime_table: tables::RUNTIME_TABLE.address().0.addr() as u64,
            integrity_table: TABLE.address().0.addr() as u64,
            integrity_function: (check as *const ()).addr() as u64,
            unix_seconds,
        };
        let devices: Vec<_> = (0..runtime.device_count()).map(device::identity).collect::<Outcome<_>>()?;
        result.set(answer(&facts, &devices))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: [u8; 16]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The test suite in RFC 1319, appendix A.5.
    #[test]
    fn md2_of_the_published_vectors() {
        for (message, digest) in [
            ("", "8350e5a3e24c153df2275c9f80692773"),
            ("a", "32ec01ec4a6dac72c0ab96fb34c0b5d1"),
            ("abc", "da853b0d3f88d99b30283a69e6ded6bb"),
            ("message digest", "ab4f496bfb2a530b219ff33031fe06b0"),
            ("abcdefghijklmnopqrstuvwxyz", "4e8ddff3650292ab5a4108c3aa47940b"),
            ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "da33def2a42df13975352846c30338cd"),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "d5976f79d83d3a0dc9806c3c66f3efd8",
            ),
        ] {
            assert_eq!(hex(md2(message.as_bytes())), digest, "{message:?}");
        }
    }

    #[test]
    fn the_substitution_is_a_permutation() {
        let mut seen = [false; 256];
        PI.iter().for_each(|&byte| seen[usize::from(byte)] = true);
        assert!(seen.iter().all(|&seen| seen));
    }

    #[test]
    fn two_of_the_three_answers_are_fixed_and_the_third_depends_on_every_fact() {
        let facts = |version| Facts {
            driver_version: 13000,
            version,
            process: 1,
            thread: 2,
            runtime_table: 3,
            integrity_table: 4,
            integrity_function: 5,
            unix_seconds: 6,
        };
        assert_eq!(answer(&facts(13000), &[]), [0x3341_181C_03CB_675C, 0x8ED3_83AA_1F4C_D1E8]);
        assert_eq!(answer(&facts(12081), &[]), [0x1841_181C_03CB_675C, 0x8ED3_83AA_1F4C_D1E8]);
        let device = |bus| Identity { uuid: [7; 16], pci_domain: 0, pci_bus: bus, pci_device: 0 };
        let base = answer(&facts(13002), &[device(1)]);
        assert_ne!(base, answer(&facts(12082), &[device(1)]));
        assert_ne!(base, answer(&facts(13002), &[device(2)]));
        assert_ne!(base, answer(&Facts { unix_seconds: 7, ..facts(13002) }, &[device(1)]));
    }
}
