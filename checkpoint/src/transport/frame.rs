//! Messages on a stream, and who sent them.

use super::peer;
use crate::map::CHUNK;
use crate::{Digest, Error, ErrorKind, Result};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Most bytes that a message holds.
pub const FRAME: usize = CHUNK as usize;
const HEAD: usize = 32;
const TAG: usize = 32;
/// Magic, version, role, whether there is a key, nonce.
const HELLO: usize = 48;
const MAGIC: &[u8; 8] = b"HETGPUMV";
const VERSION: u8 = 1;

/// What both sides must have.
#[derive(Clone)]
pub struct Key(Option<[u8; 32]>);

impl Key {
    /// No key: something else, such as ssh, has seen to it who is who. A side with a key refuses this.
    pub fn none() -> Self {
        Self(None)
    }

    /// From a file of this user that nobody else may read, with at least 16 bytes in it.
    pub fn from_file(path: &Path) -> Result<Self> {
        let wrong = |text: String| Error::new(ErrorKind::Key, format!("{}: {text}", path.display()));
        let file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).open(path);
        let file = file.map_err(|refused| wrong(format!("the key cannot be read: {refused}")))?;
        let about = file.metadata().map_err(|refused| wrong(refused.to_string()))?;
        let user = std::fs::metadata("/proc/self").map_err(|refused| wrong(refused.to_string()))?.uid();
        if !about.is_file() || about.uid() != user || about.mode() & 0o077 != 0 {
            let text = format!("a key is a file of user {user} that nobody else may read: chmod 600 it");
            return Err(wrong(text));
        }
        let mut bytes = Vec::new();
        file.take(1 << 16).read_to_end(&mut bytes).map_err(|refused| wrong(refused.to_string()))?;
        if bytes.len() < 16 {
            return Err(wrong(format!(
                "{} bytes are no key: at least 16, such as of `head -c 32 /dev/urandom`",
                bytes.len()
            )));
        }
        Ok(Self::from_bytes(&bytes))
    }

    /// From bytes that are secret.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(Some(blake3::derive_key("hetgpu transport key 1", bytes)))
    }
}

/// Which side one is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Sender = 1,
    Receiver = 2,
}

macro_rules! messages {
    ($($(#[$doc:meta])* $kind:ident = $number:literal,)+) => {
        /// Kinds of messages.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Message { $($(#[$doc])* $kind = $number,)+ }

        impl Message {
            fn of(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$kind),)+ _ => None }
            }
        }
    };
}
messages! {
    Proof = 1,
    Offer = 2,
    Accept = 3,
    Refuse = 4,
    /// The ranges of memory, in pieces; the last one is empty.
    Layout = 5,
    Data = 6,
    /// `at` to `at` plus the number in it.
    Zeros = 7,
    Round = 8,
    Ack = 9,
    Last = 10,
    End = 11,
    Ready = 12,
    Go = 13,
    Running = 14,
    Abort = 15,
    Ask = 16,
    Answer = 17,
}

/// A message that came.
pub(super) struct Frame {
    pub(super) message: Message,
    pub(super) space: u32,
    pub(super) at: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) digest: Digest,
}

/// A stream between two that know each other.
pub(super) struct Wire<'s> {
    reader: &'s mut dyn Read,
    writer: &'s mut dyn Write,
    own: [u8; 32],
    other: [u8; 32],
    sent: u64,
    came: u64,
    /// Bytes written.
    pub(super) bytes: u64,
}

fn cut(refused: &std::io::Error) -> Error {
    peer(match refused.kind() {
        std::io::ErrorKind::UnexpectedEof => "the connection was cut".to_owned(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => "the other side is silent".to_owned(),
        _ => format!("the connection was cut: {refused}"),
    })
}

/// 32 bytes that nobody can guess and that never come again.
pub(super) fn nonce() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|refused| Error::new(ErrorKind::Disk, format!("/dev/urandom: {refused}")))?;
    Ok(bytes)
}

impl<'s> Wire<'s> {
    /// Greets, and finds out whether the other side has the same key.
    pub(super) fn open(reader: &'s mut dyn Read, writer: &'s mut dyn Write, key: &Key, role: Role) -> Result<Self> {
        let mut hello = [0; HELLO];
        hello[..8].copy_from_slice(MAGIC);
        hello[8] = VERSION;
        hello[9] = role as u8;
        hello[10] = u8::from(key.0.is_some());
        hello[16..].copy_from_slice(&nonce()?);
        writer.write_all(&hello).and_then(|()| writer.flush()).map_err(|refused| cut(&refused))?;
        let mut theirs = [0; HELLO];
        reader.read_exact(&mut theirs).map_err(|refused| cut(&refused))?;
        if theirs[..8] != *MAGIC {
            return Err(peer("the other side is no hetGPU"));
        }
        if theirs[8] != VERSION {
            return Err(peer(format!("the other side speaks version {}, and this one {VERSION}", theirs[8])));
        }
        let other_role = match role {
            Role::Sender => Role::Receiver,
            Role::Receiver => Role::Sender,
        };
        if theirs[9] != other_role as u8 || theirs[11..16] != [0; 5] {
            return Err(peer("both sides want to do the same"));
        }
        match (key.0.is_some(), theirs[10]) {
            (true, 1) | (false, 0) => {}
            (true, _) => return Err(Error::new(ErrorKind::Key, "the other side has no key: give it the same one")),
            (false, _) => return Err(Error::new(ErrorKind::Key, "the other side wants a key: give the same one here")),
        }
        let (first, second) = if role == Role::Sender { (&hello, &theirs) } else { (&theirs, &hello) };
        let derived = |direction: Role| {
            let mut hasher = blake3::Hasher::new_keyed(&key.0.unwrap_or_default());
            hasher.update(first).update(second).update(&[direction as u8]);
            *hasher.finalize().as_bytes()
        };
        let (own, other) = (derived(role), derived(other_role));
        let mut wire = Self { reader, writer, own, other, sent: 0, came: 0, bytes: 0 };
        wire.say(Message::Proof)?;
        match wire.hear() {
            Ok(Frame { message: Message::Proof, .. }) => Ok(wire),
            Ok(_) => Err(peer("a message before its proof")),
            Err(error) if error.kind == ErrorKind::Key && key.0.is_some() => {
                Err(Error::new(ErrorKind::Key, "the other side has another key"))
            }
            Err(error) => Err(error),
        }
    }

    fn tag(key: &[u8; 32], head: &[u8; HEAD], digest: &Digest) -> blake3::Hash {
        let mut both = [0; HEAD + 32];
        both[..HEAD].copy_from_slice(head);
        both[HEAD..].copy_from_slice(&digest.0);
        blake3::keyed_hash(key, &both)
    }

    fn head(message: u8, space: u32, at: u64, length: usize, number: u64) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[0] = message;
        head[4..8].copy_from_slice(&(length as u32).to_le_bytes());
        head[8..12].copy_from_slice(&space.to_le_bytes());
        head[16..24].copy_from_slice(&at.to_le_bytes());
        head[24..].copy_from_slice(&number.to_le_bytes());
        head
    }

    /// Sends a message with contents whose digest is known.
    pub(super) fn send(&mut self, message: Message, space: u32, at: u64, bytes: &[u8], digest: &Digest) -> Result<()> {
        debug_assert!(bytes.len() <= FRAME);
        let head = Self::head(message as u8, space, at, bytes.len(), self.sent);
        let tag = Self::tag(&self.own, &head, digest);
        let written = self.writer.write_all(&head).and_then(|()| self.writer.write_all(bytes));
        let written = written.and_then(|()| self.writer.write_all(tag.as_bytes()));
        written.map_err(|refused| cut(&refused))?;
        self.sent += 1;
        self.bytes += (HEAD + bytes.len() + TAG) as u64;
        Ok(())
    }

    pub(super) fn say_with(&mut self, message: Message, at: u64, bytes: &[u8]) -> Result<()> {
        self.send(message, 0, at, bytes, &Digest::of(bytes))?;
        self.flush()
    }

    pub(super) fn say(&mut self, message: Message) -> Result<()> {
        self.say_with(message, 0, &[])
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        self.writer.flush().map_err(|refused| cut(&refused))
    }

    /// The next message. What it says of its size is believed up to `FRAME`, and used only if its tag is right.
    pub(super) fn hear(&mut self) -> Result<Frame> {
        let mut head = [0; HEAD];
        self.reader.read_exact(&mut head).map_err(|refused| cut(&refused))?;
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if length > FRAME {
            return Err(peer(format!("a message of {length} bytes, at most {FRAME}")));
        }
        let mut bytes = vec![0; length];
        let mut tag = [0; TAG];
        let read = self.reader.read_exact(&mut bytes).and_then(|()| self.reader.read_exact(&mut tag));
        read.map_err(|refused| cut(&refused))?;
        let digest = Digest::of(&bytes);
        // Compared in constant time by the type.
        if Self::tag(&self.other, &head, &digest) != blake3::Hash::from_bytes(tag) {
            return Err(Error::new(
                ErrorKind::Key,
                "a message is not what the other side sent: it was changed on its way",
            ));
        }
        let mut word = [0; 8];
        word.copy_from_slice(&head[24..]);
        if u64::from_le_bytes(word) != self.came {
            return Err(Error::new(ErrorKind::Key, "a message came out of its turn"));
        }
        self.came += 1;
        let message = Message::of(head[0]).ok_or_else(|| peer(format!("a message of kind {}", head[0])))?;
        let space = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        word.copy_from_slice(&head[16..24]);
        Ok(Frame { message, space, at: u64::from_le_bytes(word), bytes, digest })
    }

    /// The next message, which must be of that kind.
    pub(super) fn expect(&mut self, wanted: Message) -> Result<Frame> {
        let frame = self.hear()?;
        match frame.message {
            message if message == wanted => Ok(frame),
            Message::Abort | Message::Refuse => Err(peer(format!("the other side gave up: {}", said(&frame.bytes)))),
            other => Err(peer(format!("{other:?} came where {wanted:?} belongs"))),
        }
    }
}

/// What the other side says for people, without what could steer a terminal.
pub(super) fn said(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]);
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
