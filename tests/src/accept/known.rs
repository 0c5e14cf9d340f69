//! Where the front end and the assembler differ, and why.

/// Who accepts what the other one refuses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    /// The front end.
    Ours,
    /// The assembler.
    Theirs,
}

/// A difference that stays.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Who accepts.
    pub side: Side,
    /// How the opcode begins; an asterisk at its end stands for anything.
    pub opcode: &'static str,
    /// A part of what the other one says.
    pub message: &'static str,
    /// Why.
    pub reason: &'static str,
    /// An instruction that they must go on to differ about.
    pub example: &'static str,
}

/// All of them.
pub const KNOWN: &[Known] = &[];

/// The difference that explains a case.
pub fn explain(side: Side, line: &str, message: &str) -> Option<&'static Known> {
    let opcode = super::generate::opcode(line);
    KNOWN.iter().find(|known| {
        let fits = match known.opcode.strip_suffix('*') {
            Some(start) => opcode.starts_with(start),
            None => opcode == known.opcode,
        };
        known.side == side && fits && message.contains(known.message)
    })
}
