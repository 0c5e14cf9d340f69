//! What a program learns about its own failures: logs, core dumps, the profiler.

use crate::abi::{Call, In, LogFunction, Out, Pointer, Text};
use crate::journal;
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::log;
use std::collections::HashMap;
use std::ffi::c_char;
use std::sync::{LazyLock, Mutex, MutexGuard};

pub(crate) fn profiler_initialize(_call: &Call, _config: Text, _output: Text, _mode: u32) -> Outcome {
    Err(Failure::new(Code::ERROR_NOT_SUPPORTED, "there is no profiler"))
}

/// Starting and stopping a profiler that is not there succeeds, as on hardware that nobody profiles.
pub(crate) fn profiler_switch(call: &Call) -> Outcome {
    call.runtime()?.session()?;
    log::write(log::Level::Trace, format_args!("no profiler listens to {}", call.name));
    Ok(())
}

fn no_flags(flags: u32) -> Outcome {
    match flags {
        0 => Ok(()),
        _ => Err(Failure::new(Code::ERROR_INVALID_VALUE, "flags must be 0")),
    }
}

pub(crate) fn logs_register(
    _call: &Call,
    function: Option<LogFunction>,
    data: Pointer,
    listener: Out<Pointer>,
) -> Outcome {
    let function = function.ok_or_else(|| Failure::new(Code::ERROR_INVALID_VALUE, "no function to call"))?;
    listener.set_if_wanted(journal::listen(function, data));
    Ok(())
}

pub(crate) fn logs_unregister(_call: &Call, listener: Pointer) -> Outcome {
    match journal::leave(listener) {
        true => Ok(()),
        false => Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("nobody listens as {listener:?}"))),
    }
}

pub(crate) fn logs_current(_call: &Call, place: Out<u32>, flags: u32) -> Outcome {
    no_flags(flags)?;
    place.set(journal::end())
}

/// Where the reader has come to, if it keeps count.
fn place(place: In<u32>) -> Outcome<Option<u32>> {
    if place.is_null() { Ok(None) } else { place.get().map(Some) }
}

pub(crate) fn logs_to_file(_call: &Call, from: In<u32>, path: Text, flags: u32) -> Outcome {
    no_flags(flags)?;
    let path = path.get()?;
    let (text, end) = journal::text(place(from)?, usize::MAX).unwrap_or_default();
    std::fs::write(&path, text)
        .map_err(|error| Failure::new(Code::ERROR_INVALID_VALUE, format!("{path} cannot be written: {error}")))?;
    from.slot(0).set_if_wanted(end);
    Ok(())
}

pub(crate) fn logs_to_memory(
    _call: &Call,
    from: In<u32>,
    buffer: Out<c_char>,
    bytes: Out<usize>,
    flags: u32,
) -> Outcome {
    no_flags(flags)?;
    let size: In<usize> = bytes.as_in();
    // One for the NUL.
    let room = size.get()?.checked_sub(1);
    match room.and_then(|room| journal::text(place(from).ok()?, room)) {
        Some((text, end)) => {
            buffer.set_text(&text, text.len() + 1)?;
            from.slot(0).set_if_wanted(end);
            bytes.set(text.len())
        }
        None => {
            bytes.set(0)?;
            Err(Failure::new(Code::ERROR_INVALID_VALUE, "the buffer has no room for any message"))
        }
    }
}

/// What is to be dumped when a kernel fails, and where to. It is kept for the program; no dump is made.
#[derive(Clone, Debug, Default)]
struct Coredump {
    /// By attribute, as bytes; the default where there is none.
    set: HashMap<u32, Vec<u8>>,
}

#[derive(Default)]
struct Coredumps {
    global: Coredump,
    /// By handle of the context; what differs from the global ones.
    own: HashMap<u64, Coredump>,
}

/// How an attribute is passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Switch(bool),
    Number,
    Text,
}

/// Longest text with its NUL.
const TEXT: usize = 1024;
const USER_TRIGGER: u32 = 4;
const PIPE: u32 = 6;

/// Form and default of an attribute; contexts have no trigger and no pipe of their own.
fn form(attribute: u32, of_context: bool) -> Outcome<Form> {
    match attribute {
        USER_TRIGGER | PIPE if of_context => {}
        1 | 3 | USER_TRIGGER => return Ok(Form::Switch(false)),
        2 => return Ok(Form::Switch(true)),
        5 | PIPE => return Ok(Form::Text),
        7 => return Ok(Form::Number),
        _ => {}
    }
    Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("no core dump attribute {attribute}")))
}

impl Form {
    fn bytes(self) -> usize {
        match self {
            Self::Switch(_) => 1,
            Self::Number => 4,
            Self::Text => TEXT,
        }
    }

    fn default(self) -> Vec<u8> {
        match self {
            Self::Switch(on) => vec![u8::from(on)],
            Self::Number => vec![0; 4],
            Self::Text => Vec::new(),
        }
    }
}

fn coredumps() -> MutexGuard<'static, Coredumps> {
    static COREDUMPS: LazyLock<Mutex<Coredumps>> = LazyLock::new(Mutex::default);
    COREDUMPS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn read(attribute: u32, value: Out<u8>, bytes: Out<usize>, context: Option<u64>) -> Outcome {
    let form = form(attribute, context.is_some())?;
    let size: In<usize> = bytes.as_in();
    if value.is_null() {
        return bytes.set(form.bytes());
    }
    let size = size.get()?;
    let stored = {
        let all = coredumps();
        let own = context.and_then(|context| all.own.get(&context)?.set.get(&attribute));
        own.or_else(|| all.global.set.get(&attribute)).cloned().unwrap_or_else(|| form.default())
    };
    let fits = match form {
        Form::Text => size > stored.len(),
        Form::Switch(_) | Form::Number => size == form.bytes(),
    };
    if !fits {
        return Err(Failure::new(
            Code::ERROR_INVALID_VALUE,
            format!("{size} bytes for core dump attribute {attribute}, which has {}", form.bytes()),
        ));
    }
    let padded = stored.into_iter().chain(std::iter::repeat(0)).take(size.min(form.bytes()));
    padded.enumerate().try_for_each(|(at, byte)| value.at(at).set(byte))
}

fn write(attribute: u32, value: In<u8>, size: In<usize>, context: Option<u64>) -> Outcome {
    let form = form(attribute, context.is_some())?;
    let size = size.get()?;
    let fits = match form {
        Form::Text => size < TEXT,
        Form::Switch(_) | Form::Number => size == form.bytes(),
    };
    if !fits {
        return Err(Failure::new(
            Code::ERROR_INVALID_VALUE,
            format!("{size} bytes for core dump attribute {attribute}"),
        ));
    }
    let value = value.list(size)?;
    let mut all = coredumps();
    let triggered = all.global.set.get(&USER_TRIGGER).is_some_and(|on| on[0] != 0);
    if attribute == PIPE && triggered {
        return Err(Failure::new(Code::ERROR_NOT_SUPPORTED, "the pipe is in use once the trigger is on"));
    }
    if matches!(form, Form::Switch(false)) && value[0] != 0 && log::first("core dumps") {
        log::warn(format_args!("core dumps are asked for; none are made"));
    }
    let place = match context {
        Some(context) => all.own.entry(context).or_default(),
        None => &mut all.global,
    };
    place.set.insert(attribute, value);
    Ok(())
}

fn current(call: &Call) -> Outcome<Option<u64>> {
    let context = call.runtime()?.current().ok_or(hetgpu_runtime::Error::InvalidContext)?;
    Ok(Some(context.bits()))
}

pub(crate) fn coredump(call: &Call, attribute: u32, value: Out<u8>, bytes: Out<usize>) -> Outcome {
    form(attribute, false)?;
    read(attribute, value, bytes, current(call)?)
}

pub(crate) fn coredump_global(_call: &Call, attribute: u32, value: Out<u8>, bytes: Out<usize>) -> Outcome {
    read(attribute, value, bytes, None)
}

pub(crate) fn set_coredump(call: &Call, attribute: u32, value: In<u8>, bytes: In<usize>) -> Outcome {
    form(attribute, false)?;
    write(attribute, value, bytes, current(call)?)
}

pub(crate) fn set_coredump_global(_call: &Call, attribute: u32, value: In<u8>, bytes: In<usize>) -> Outcome {
    write(attribute, value, bytes, None)
}
