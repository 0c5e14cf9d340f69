//! Ways to the other side of a transfer: a connection, or standard input and output.

use super::trouble;
use crate::line::Line;
use crate::{Stop, refused};
use hetgpu_checkpoint::transport::Key;
use hetgpu_checkpoint::{Error, ErrorKind};
use std::io::{BufReader, BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

/// The exit status where it is not known on which side a job is.
pub(super) const UNSETTLED: u8 = 11;
/// How long the other side may be silent: it may have a lot to write in between.
const SILENCE: Duration = Duration::from_secs(300);

/// Two directions.
pub(super) struct Way {
    reader: Box<dyn Read>,
    writer: Box<dyn Write>,
}

impl Way {
    pub(super) fn both(&mut self) -> (&mut dyn Read, &mut dyn Write) {
        (self.reader.as_mut(), self.writer.as_mut())
    }

    fn standard() -> Self {
        Self { reader: Box::new(std::io::stdin().lock()), writer: Box::new(BufWriter::new(std::io::stdout().lock())) }
    }

    fn over(stream: TcpStream) -> Result<Self, Stop> {
        let failed = |error: std::io::Error| trouble(10, format!("the connection: {error}"));
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(SILENCE)).map_err(failed)?;
        stream.set_write_timeout(Some(SILENCE)).map_err(failed)?;
        let reader = stream.try_clone().map_err(failed)?;
        let reader = BufReader::with_capacity(1 << 20, reader);
        Ok(Self { reader: Box::new(reader), writer: Box::new(BufWriter::with_capacity(1 << 20, stream)) })
    }
}

pub(super) fn connect(to: &str) -> Result<Way, Stop> {
    match to {
        "-" => Ok(Way::standard()),
        _ => Way::over(TcpStream::connect(to).map_err(|error| trouble(10, format!("{to}: {error}")))?),
    }
}

/// Where somebody else connects to.
pub(super) enum Door {
    Standard,
    Port(TcpListener),
}

impl Door {
    pub(super) fn open(at: &str) -> Result<Self, Stop> {
        let place = match at {
            "-" => return Ok(Self::Standard),
            port if port.parse::<u16>().is_ok() => format!("[::]:{port}"),
            place => place.to_owned(),
        };
        let bound = TcpListener::bind(&place).or_else(|error| match at.parse::<u16>() {
            // A system without the newer kind of addresses.
            Ok(port) => TcpListener::bind(("0.0.0.0", port)),
            Err(_) => Err(error),
        });
        bound.map(Self::Port).map_err(|error| trouble(10, format!("{place}: {error}")))
    }

    /// Where it is, for who wants to come.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Standard => "standard input".into(),
            Self::Port(listener) => listener.local_addr().map(|at| at.to_string()).unwrap_or_default(),
        }
    }

    pub(super) fn next(&self) -> Result<Way, Stop> {
        match self {
            Self::Standard => Ok(Way::standard()),
            Self::Port(listener) => {
                let (stream, _) = listener.accept().map_err(|error| trouble(10, format!("the port: {error}")))?;
                Way::over(stream)
            }
        }
    }

    pub(super) fn is_standard(&self) -> bool {
        matches!(self, Self::Standard)
    }
}

/// The key that both sides have. On standard input and output somebody else has seen to it who is who.
pub(super) fn key(line: &Line, standard: bool) -> Result<Key, Stop> {
    match line.value("--key") {
        Some(file) => Key::from_file(Path::new(file)).map_err(|error| stop(&error)),
        None if standard => Ok(Key::none()),
        None => Err(refused("--key names a file with a secret that the other side has too")),
    }
}

/// What ends a command.
pub(super) fn stop(error: &Error) -> Stop {
    let status = match error.kind {
        ErrorKind::Unsettled => UNSETTLED,
        ErrorKind::TooBusy => 4,
        ErrorKind::Peer | ErrorKind::Key => 10,
        _ => 8,
    };
    trouble(status, error.to_string())
}
