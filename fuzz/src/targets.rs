//! What is fuzzed. A target takes any bytes and says in one number how it answered, so that new answers are recognised;
//! it panics where a promise is broken.

mod container;
mod cpu;
mod program;
mod ptx;
mod snapshot;
mod text;
mod threads;
mod verify;

/// A target.
#[derive(Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    pub seeds: fn() -> Vec<Vec<u8>>,
    pub run: fn(&[u8]) -> Answer,
}

/// The targets that run where none is named.
pub const ALL: &[Target] = &[
    Target { name: "container", seeds: container::seeds, run: container::run },
    Target { name: "program", seeds: program::seeds, run: program::run },
    Target { name: "ptx", seeds: ptx::seeds, run: ptx::run },
    Target { name: "snapshot", seeds: snapshot::seeds, run: snapshot::run },
    Target { name: "text", seeds: text::seeds, run: text::run },
    Target { name: "threads", seeds: threads::seeds, run: threads::run },
    Target { name: "verify", seeds: verify::seeds, run: verify::run },
];

/// Targets that run only by name: they reserve more addresses than a bound on memory for the others allows.
pub const BY_NAME: &[Target] = &[Target { name: "cpu", seeds: cpu::seeds, run: cpu::run }];

/// How a target answered, as far as it tells paths through the program apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Answer(pub u64);

impl Answer {
    /// Nothing was said yet.
    pub const NONE: Self = Self(0xcbf2_9ce4_8422_2325);

    /// Adds something that was said. Numbers are left out: messages that differ only in them are the same answer.
    #[must_use]
    pub fn with(self, text: &str) -> Self {
        let bytes = text.bytes().filter(|byte| !byte.is_ascii_digit());
        // FNV-1a.
        Self(bytes.fold(self.0, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
    }
}

/// What is the same in all messages of a kind: the text outside quotes.
fn kind_of(message: &str) -> String {
    message.split(['`', '"']).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_seeds_and_takes_them() {
        for target in ALL {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{}", target.name);
            let nonsense = (target.run)(b"nonsense");
            // Seeds that show errors may show that of nonsense; no other seed may be refused like it.
            let shows_error = |seed: &[u8]| seed.windows(6).any(|w| w == b"error ");
            let refused = seeds.iter().any(|seed| !shows_error(seed) && (target.run)(seed) == nonsense);
            assert!(!refused, "{}: seeds are refused like nonsense", target.name);
            (target.run)(&[]);
        }
    }

    #[test]
    fn answers_differ_by_kind_and_not_by_number() {
        assert_eq!(Answer::NONE.with("line 3"), Answer::NONE.with("line 14"));
        assert_ne!(Answer::NONE.with("a"), Answer::NONE.with("b"));
        assert_eq!(kind_of("no `x` in \"y\" here"), "no  in  here");
    }
}
